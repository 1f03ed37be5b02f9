"""Values in a request's path and query, parsed with a clear refusal."""

from collections.abc import Mapping
from datetime import UTC, datetime

from flask import Flask, request
from werkzeug.exceptions import BadRequest, NotFound
from werkzeug.routing import IntegerConverter, Map, ValidationError

from cloud_hub.errors import Invalid

_ID_MAX = 2**63 - 1
_DIGITS_MAX = 18


class _IdConverter(IntegerConverter):
    """A number that can be an id in the database; any other is no page at all."""

    def __init__(self, url_map: Map) -> None:
        super().__init__(url_map, min=1, max=_ID_MAX)

    def to_python(self, value: str) -> int:
        """Read it. Werkzeug would answer a refusal with 405 where the address has other methods, too."""
        try:
            number: int = super().to_python(value)
        except ValidationError as error:
            raise NotFound from error
        return number


def install_parameters(app: Flask) -> None:
    """Let routes say `<id:…>`, and refuse what no database column can hold. Before any blueprint."""
    app.url_map.converters["id"] = _IdConverter
    app.before_request(_refuse_nul)


def _refuse_nul() -> None:
    texts = (request.path, *request.args.values(), *request.form.values())
    if any("\0" in text for text in texts):
        raise BadRequest("This request holds a NUL character, which no name or number here has.")


def parse_instant(arguments: Mapping[str, str], name: str, default: datetime | None = None) -> datetime:
    """Read an instant with its offset from UTC; answer it in UTC.

    Raises: Invalid when it is missing (and has no default), no instant, or has no offset.
    """
    text = arguments.get(name)
    if text is None:
        if default is not None:
            return default
        raise Invalid(f"{name} is missing: send an instant such as 2026-01-31T12:00:00Z")
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise Invalid(
            f"{name} is {text!r}: send an instant with its offset from UTC, such as 2026-01-31T12:00:00Z "
            "(a '+' in an address is written %2B)"
        )
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise Invalid(f"{name} is {text!r}, which is outside the calendar") from error


def parse_whole(arguments: Mapping[str, str], name: str, *, default: int, lowest: int, highest: int) -> int:
    """Read a whole number within bounds.

    Raises: Invalid.
    """
    text = arguments.get(name, str(default))
    is_number = text.isdecimal() and len(text) <= _DIGITS_MAX
    if not is_number or not lowest <= int(text) <= highest:
        raise Invalid(f"{name} is {text!r}: send a whole number from {lowest} to {highest}")
    return int(text)
