"""Many things at once: all or none, or as many as can be, each with what came of it."""

from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import TypeVar

from sqlalchemy.orm import Session

from cloud_hub.errors import Conflict, Forbidden, HubError, Invalid, NotFound
from cloud_hub.registry.places import at
from cloud_hub.registry.schemas import Refusal
from cloud_hub.web.problems import problem_of

Item = TypeVar("Item")
Made = TypeVar("Made")

_STATUS: dict[type[HubError], HTTPStatus] = {
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    Forbidden: HTTPStatus.FORBIDDEN,
}


def make_all(items: Sequence[Item], make: Callable[[Item], Made]) -> list[Made]:
    """Make all of these; the first refusal names the item's place under `items`, and nothing shall be committed.

    Raises: what `make` raises.
    """
    made = []
    for index, item in enumerate(items):
        with at("items", index):
            made.append(make(item))
    return made


def make_each(session: Session, items: Sequence[Item], make: Callable[[Item], Made]) -> Iterator[Made | Refusal]:
    """Make those of these that can be made; yield each, or why it was refused, in their order."""
    for item in items:
        try:
            with session.begin_nested():
                made = make(item)
        except (NotFound, Conflict, Invalid, Forbidden) as error:
            yield _refusal(error)
        else:
            yield made


def _refusal(error: HubError) -> Refusal:
    status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
    return Refusal(type=problem_of(status).uri, title=status.phrase, status=status, detail=str(error))
