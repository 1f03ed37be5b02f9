"""What a site's energy is judged by: operating hours and prices, read for many sites at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy.orm import Session

from cloud_hub.analysis.model import SitePart
from cloud_hub.calendar.days import start_of_day
from cloud_hub.calendar.hours import HoursFrom
from cloud_hub.tariffs.bill import PricePeriod
from cloud_hub.tariffs.prices import read_price_series
from cloud_hub.tariffs.service import map_price_periods
from cloud_hub.tariffs.site_hours import map_hours
from cloud_hub.tariffs.steps import Steps


@dataclass(frozen=True, slots=True)
class Book:
    """All that holds at one site in a range of days."""

    hours: Sequence[HoursFrom]
    """Empty where nobody has said when the site is in operation."""
    prices: Sequence[PricePeriod]
    series: Mapping[str, Steps]

    @property
    def currency(self) -> str | None:
        """The currency of its tariff; None without one."""
        return self.prices[0].document.currency if self.prices else None


def read_books(session: Session, parts: Sequence[SitePart], first: date, last: date) -> dict[int, Book]:
    """Read the books of these sites by their ids; the number of statements does not grow with the sites."""
    if not parts:
        return {}
    site_ids = [part.site_id for part in parts]
    start, end = bounds_of(parts, first, last)
    hours = map_hours(session, site_ids)
    prices = map_price_periods(session, site_ids, start, end)
    series = {}
    for organisation_id in {part.organisation_id for part in parts}:
        own = [part.site_id for part in parts if part.organisation_id == organisation_id]
        documents = [period.document for site_id in own for period in prices[site_id]]
        series[organisation_id] = read_price_series(session, organisation_id, documents, start, end)
    return {
        part.site_id: Book(hours[part.site_id], prices[part.site_id], series[part.organisation_id]) for part in parts
    }


def bounds_of(parts: Sequence[SitePart], first: date, last: date) -> tuple[datetime, datetime]:
    """Return from when to when the local days lie, over the clocks of all these sites."""
    zones = {part.zone for part in parts}
    return (
        min(start_of_day(first, zone) for zone in zones),
        max(start_of_day(last + timedelta(days=1), zone) for zone in zones),
    )
