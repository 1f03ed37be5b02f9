"""From rows of this slice to their shapes in the API."""

from cloud_hub.calendar.days import instant_of_ms
from cloud_hub.tariffs.models import EmissionSeries, PriceSeries, SiteHours, Tariff
from cloud_hub.tariffs.schemas import EmissionSeriesOut, HoursOut, PriceSeriesOut, SpanOut, SpansOut, TariffOut
from cloud_hub.tariffs.site_hours import first_day_of
from cloud_hub.tariffs.steps import Steps


def tariff_out(tariff: Tariff, organisation: str | None) -> TariffOut:
    """Shape a tariff."""
    return TariffOut(
        id=tariff.id,
        organisation=organisation,
        slug=tariff.slug,
        name=tariff.name,
        currency=tariff.currency,
        created_at=tariff.created_at,
    )


def price_series_out(series: PriceSeries, organisation: str | None) -> PriceSeriesOut:
    """Shape a price series."""
    return PriceSeriesOut(
        id=series.id,
        organisation=organisation,
        slug=series.slug,
        name=series.name,
        currency=series.currency,
        created_at=series.created_at,
    )


def emission_series_out(series: EmissionSeries, organisation: str | None) -> EmissionSeriesOut:
    """Shape a series of emission factors."""
    return EmissionSeriesOut.model_validate(
        {name: getattr(series, name) for name in EmissionSeriesOut.model_fields if name != "organisation"}
        | {"organisation": organisation}
    )


def hours_out(kept: SiteHours) -> HoursOut:
    """Shape operating hours."""
    return HoursOut(
        id=kept.id,
        first_day=first_day_of(kept),
        hours=kept.document,
        recorded_at=kept.recorded_at,
        recorded_by=kept.recorded_by,
        why=kept.why,
    )


def steps_out(steps: Steps) -> SpansOut:
    """Shape the values of a series."""
    rows = zip(steps.from_ms.tolist(), steps.until_ms.tolist(), steps.values, strict=True)
    return SpansOut(
        items=[SpanOut(start=instant_of_ms(low), until=instant_of_ms(high), value=value) for low, high, value in rows]
    )
