"""Bounded lists: a limit, and a cursor that names the last item seen."""

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, Field

from cloud_hub.errors import Invalid
from cloud_hub.web.documents import Document
from cloud_hub.web.parameters import parse_whole

LIMIT_DEFAULT = 100
LIMIT_MAX = 500

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of an ordered list is wanted."""

    limit: int = LIMIT_DEFAULT
    after: str | None = None
    """The key of the last item already seen."""

    @property
    def after_id(self) -> int:
        """`after` in a list ordered by numeric id; 0 at its beginning.

        Raises: Invalid for a cursor of another list.
        """
        if self.after is None:
            return 0
        if not self.after.isdecimal() or len(self.after) > 18:
            raise _not_ours()
        return int(self.after)


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One part of a list, and the key after which the next part begins."""

    items: Sequence[Item]
    next_key: str | None = None


class ListQuery(Document):
    """Which part of a list is wanted; lists with filters derive theirs from it."""

    limit: Annotated[int, Field(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT
    cursor: Annotated[str, Field(max_length=500)] | None = None
    """The `next_cursor` of the part before; left out at the beginning."""

    @property
    def window(self) -> Window:
        """The same as what services take.

        Raises: Invalid for a cursor that no list gave out.
        """
        return Window(self.limit, None if self.cursor is None else _decode(self.cursor))


class PageOut(BaseModel, Generic[Item]):
    """A part of a list as the API answers it."""

    items: list[Item]
    next_cursor: str | None
    """Send it as `cursor` for the next part; null at the end."""


def parse_window(arguments: Mapping[str, str]) -> Window:
    """Read `limit` and `cursor` of a request.

    Raises: Invalid.
    """
    limit = parse_whole(arguments, "limit", default=LIMIT_DEFAULT, lowest=1, highest=LIMIT_MAX)
    cursor = arguments.get("cursor")
    return Window(limit, None if cursor is None else _decode(cursor))


def cut(rows: Sequence[Item], window: Window, key: Callable[[Item], object]) -> Page[Item]:
    """Make a page of rows that were read with one above the limit, to see whether more follow."""
    items = rows[: window.limit]
    return Page(items, str(key(items[-1])) if len(rows) > window.limit else None)


def encode_cursor(key: str | None) -> str | None:
    """Wrap a page's last key, so that no client builds on what it is."""
    return None if key is None else urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _decode(cursor: str) -> str:
    try:
        key = b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise _not_ours() from error
    if "\0" in key:  # which no column of the database can be compared with
        raise _not_ours()
    return key


def _not_ours() -> Invalid:
    return Invalid("cursor is not one that this list gave out: begin without it")
