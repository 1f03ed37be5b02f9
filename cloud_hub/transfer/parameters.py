"""Words of an order, from a command line. Pure."""

from datetime import UTC, date, datetime

from cloud_hub.errors import Invalid


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
