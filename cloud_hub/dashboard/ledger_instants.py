"""Times that people type, by the site's clock, and numbers that they type. Pure."""

from datetime import UTC, datetime, tzinfo
from decimal import Decimal, InvalidOperation

from cloud_hub.errors import Invalid

PASSES = ("first", "second")
"""Of an hour that the clock goes through twice."""
_YEARS = range(1971, 9_000)


class ShownTwice(Invalid):
    """The clock showed this time twice, and nobody has said which is meant."""


def parse_local(text: str, zone: tzinfo, what: str, which: str = "") -> datetime:
    """Read a time of the site's clock, such as `2026-11-20T14:30`; answer it in UTC.

    `which` is a word of `PASSES`, for a time that came twice. Raises: Invalid, ShownTwice.
    """
    stamp = _parse_stamp(text.strip(), what)
    found = list_instants(stamp, zone)
    if not found:
        raise Invalid(
            f"{what} is {stamp:%Y-%m-%d %H:%M}, which the clock of {zone} jumped over: take a time beside it."
        )
    if len(found) > 1 and which not in PASSES:
        raise ShownTwice(f"{what} is {stamp:%Y-%m-%d %H:%M}, which the clock showed twice: choose which of the two.")
    return found[PASSES.index(which)] if len(found) > 1 else found[0]


def list_instants(stamp: datetime, zone: tzinfo) -> list[datetime]:
    """Return the instants in UTC at which the clock showed `stamp`, which has no offset: none, one or two."""
    found = {stamp.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(instant for instant in found if instant.astimezone(zone).replace(tzinfo=None) == stamp)


def parse_number(text: str, what: str) -> Decimal:
    """Read a number as a person types it, with a decimal point.

    Raises: Invalid.
    """
    given = text.strip()
    if "," in given:
        raise Invalid(f"{what} is {given!r}: write it with a decimal point and without commas, such as 1234.5.")
    try:
        number = Decimal(given)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise Invalid(
            f"{what} is {given!r}: write a number such as 1234.5." if given else f"{what} is empty: write a number."
        )
    return number


def _parse_stamp(text: str, what: str) -> datetime:
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        stamp = None
    if stamp is None or stamp.tzinfo is not None or stamp.year not in _YEARS:
        shown = repr(text) if text else "empty"
        raise Invalid(f"{what} is {shown}: write a day and a time of the site's clock, such as 2026-11-20T14:30.")
    return stamp
