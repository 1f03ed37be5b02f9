"""Makers of tariffs and of energy to price; what a test is about, it changes by keyword."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from cloud_hub.calendar.days import Grid, make_grid, ms_of_instant
from cloud_hub.tariffs.bill import PricePeriod
from cloud_hub.tariffs.document import TariffDocument, parse_tariff

KWH = 10**9
"""In millionths of a Wh."""
LONDON = ZoneInfo("Europe/London")


def flat(price: str = "0.30", **changes: Any) -> dict[str, Any]:
    """Make a flat energy price."""
    return {"kind": "flat", "name": "Energy", "price_per_kwh": price} | changes


def standing(price: str = "0.50") -> dict[str, Any]:
    """Make a standing charge."""
    return {"kind": "standing", "name": "Standing", "price_per_day": price}


def tariff(*components: dict[str, Any], **changes: Any) -> TariffDocument:
    """Make a tariff of these components, in pounds."""
    return parse_tariff({"currency": "GBP", "components": components or [flat()]} | changes)


def period(
    *components: dict[str, Any],
    start: datetime | None = None,
    until: datetime | None = None,
    version_id: int | None = None,
    **changes: Any,
) -> PricePeriod:
    """Make a tariff that holds in `[start, until)`."""
    return PricePeriod(
        tariff(*components, **changes),
        None if start is None else ms_of_instant(start),
        None if until is None else ms_of_instant(until),
        version_id=version_id,
    )


def month_grid(month: int = 1, *, year: int = 2026, zone: ZoneInfo = LONDON, interval_s: int = 1800) -> Grid:
    """Make the grid of a month."""
    first = date(year, month, 1)
    following = date(year + month // 12, month % 12 + 1, 1)
    return make_grid(first, date.fromordinal(following.toordinal() - 1), zone, interval_s)


def even(grid: Grid, kwh: str | int | Decimal = 1) -> NDArray[np.int64]:
    """Make equal amounts in all intervals."""
    return np.full(len(grid), int(Decimal(kwh) * KWH), dtype=np.int64)


def utc(*parts: int) -> datetime:
    """Make an instant."""
    year, month, day, *rest = parts
    hour, minute = [*rest, 0, 0][:2]
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def micro(amounts: Sequence[int]) -> NDArray[np.int64]:
    """Make amounts, in millionths of a Wh."""
    return np.array(amounts, dtype=np.int64)
