"""What one answer can hold."""

from datetime import date

from cloud_hub.analysis.model import Scope
from cloud_hub.errors import Invalid

DAYS_MAX = 3_700
"""Of one range: ten years."""


class SeveralClocks(Invalid):
    """Intervals of sites in several time zones, or of several lengths, cannot be put beside each other."""


class RangeTooLong(Invalid):
    """More days than one answer holds."""


def check_range(first: date, last: date) -> None:
    """Make sure that a range of days, both included, can be answered.

    Raises: Invalid, RangeTooLong.
    """
    if last < first:
        raise Invalid(f"the range ends before it begins: let its end lie after {first}")
    if (last - first).days >= DAYS_MAX:
        raise RangeTooLong(f"the range has more than {DAYS_MAX:,} days: ask for less at once")


def check_one_clock(scope: Scope, remedy: str) -> None:
    """Make sure that the scope's intervals lie beside each other.

    Raises: SeveralClocks.
    """
    if scope.parts and not scope.has_one_clock:
        raise SeveralClocks(
            f"{scope.kind.value} {scope.name!r} has sites in several time zones or with several interval lengths: "
            f"ask for {remedy}"
        )
