"""Public holidays by country, and days of one's own. Pure."""

from datetime import date
from functools import lru_cache
from typing import Self

from holidays import country_holidays
from pydantic import model_validator

from cloud_hub.web.documents import Document


class Holidays(Document):
    """Which dates are holidays."""

    country: str | None = None
    """ISO 3166 code, such as `GB`; none for own days only."""
    subdivision: str | None = None
    """ISO 3166-2 code within it, such as `SCT`."""
    also: tuple[date, ...] = ()
    """Days that are holidays here besides."""
    but_not: tuple[date, ...] = ()
    """Public holidays that are none here."""

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if self.country is None and self.subdivision is not None:
            raise ValueError("subdivision needs its country beside it")
        if self.country is not None:
            try:
                _public_holidays(self.country, self.subdivision, 2026)
            except NotImplementedError:
                place = " ".join(filter(None, [self.country, self.subdivision]))
                raise ValueError(
                    f"holidays of {place!r} are not known: use ISO 3166 codes such as country 'GB', subdivision 'SCT', or list days under also"
                ) from None
        return self


def is_holiday(holidays: Holidays | None, day: date) -> bool:
    """Tell whether a local date is a holiday; days given in lieu are, too."""
    if holidays is None or day in holidays.but_not:
        return False
    if day in holidays.also:
        return True
    return holidays.country is not None and day in _public_holidays(holidays.country, holidays.subdivision, day.year)


@lru_cache(maxsize=1024)
def _public_holidays(country: str, subdivision: str | None, year: int) -> frozenset[date]:
    return frozenset(country_holidays(country, subdiv=subdivision, years=year))
