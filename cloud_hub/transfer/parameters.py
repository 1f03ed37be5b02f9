"""Words of an order, from an address or a command line. Pure."""

from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TypeVar

from cloud_hub.errors import Invalid

Choice = TypeVar("Choice", bound=StrEnum)


def parse_edge(text: str, name: str) -> date | datetime:
    """Read a date, which stands for local midnight, or an instant with its offset from UTC.

    Raises: Invalid.
    """
    try:
        if len(text) == len("2026-01-31"):
            return date.fromisoformat(text)
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Invalid(
        f"{name} is {text!r}: write a date such as 2026-01-31, or an instant such as 2026-01-31T12:00:00Z "
        "(a '+' in an address is written %2B)"
    )


def parse_choice(kind: type[Choice], text: str, name: str) -> Choice:
    """Read one word of a closed list.

    Raises: Invalid.
    """
    try:
        return kind(text)
    except ValueError:
        raise Invalid(f"{name} is {text!r}: choose one of {', '.join(kind)}") from None
