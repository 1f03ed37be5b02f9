"""Price series: prices by time that tariffs refer to. Callers commit."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.audit.service import record
from cloud_hub.errors import Conflict, Invalid, NotFound
from cloud_hub.tariffs.document import Series, TariffDocument
from cloud_hub.tariffs.models import PriceSeries, Tariff, TariffPrice
from cloud_hub.tariffs.spans import Span, read_spans, replace_spans
from cloud_hub.tariffs.steps import Steps


class UnknownPriceSeries(NotFound):
    """No price series has that id."""


def create_price_series(
    session: Session, *, organisation_id: int, slug: str, name: str, currency: str, who: str
) -> PriceSeries:
    """Add a series without prices yet.

    Raises: Conflict when the organisation has one of that slug.
    """
    if _find_by_slug(session, organisation_id, slug) is not None:
        raise Conflict(f"there is a price series {slug!r} already: add prices to it, or choose another slug")
    series = PriceSeries(organisation_id=organisation_id, slug=slug, name=name, currency=currency)
    session.add(series)
    session.flush()
    detail = {"slug": slug, "name": name, "currency": currency}
    subject = f"price_series:{series.id}"
    record(session, organisation_id, who=who, action="price_series_created", subject=subject, detail=detail)
    return series


def get_price_series(session: Session, series_id: int) -> PriceSeries:
    """Return the price series with that id.

    Raises: UnknownPriceSeries.
    """
    series = session.get(PriceSeries, series_id)
    if series is None:
        raise UnknownPriceSeries(f"there is no price series {series_id}")
    return series


def put_prices(
    session: Session, series_id: int, spans: Sequence[Span], *, start: datetime, end: datetime, who: str
) -> None:
    """Replace a series' prices in `[start, end)`.

    Raises: UnknownPriceSeries, Invalid, Conflict (`replace_spans`).
    """
    series = get_price_series(session, series_id)
    session.execute(select(PriceSeries.id).where(PriceSeries.id == series_id).with_for_update(key_share=True))
    replace_spans(session, TariffPrice, series_id, spans, start=start, end=end)
    detail = {"from": start.isoformat(), "to": end.isoformat(), "prices": len(spans)}
    subject = f"price_series:{series_id}"
    record(session, series.organisation_id, who=who, action="prices_put", subject=subject, detail=detail)


def read_price_series(
    session: Session, organisation_id: int, documents: Collection[TariffDocument], start: datetime, end: datetime
) -> dict[str, Steps]:
    """Read, by slug, the prices in `[start, end)` of all series that these tariffs refer to."""
    slugs = {slug for document in documents for slug in _slugs_of(document)}
    if not slugs:
        return {}
    query = select(PriceSeries.id, PriceSeries.slug).where(
        PriceSeries.organisation_id == organisation_id, PriceSeries.slug.in_(slugs)
    )
    ids = {row.id: row.slug for row in session.execute(query)}
    return {ids[series_id]: steps for series_id, steps in read_spans(session, TariffPrice, ids, start, end).items()}


def read_prices(session: Session, series_ids: Collection[int], start: datetime, end: datetime) -> dict[int, Steps]:
    """Read the prices in `[start, end)` by series, per kWh."""
    return read_spans(session, TariffPrice, series_ids, start, end)


def check_series(session: Session, tariff: Tariff, document: TariffDocument) -> None:
    """Make sure that the price series a tariff refers to are there, in its currency.

    Raises: Invalid.
    """
    for slug in sorted(_slugs_of(document)):
        series = _find_by_slug(session, tariff.organisation_id, slug)
        if series is None:
            raise Invalid(f"there is no price series {slug!r} for the tariff to refer to: create it first")
        if series.currency != document.currency:
            raise Invalid(f"price series {slug!r} is in {series.currency}, the tariff in {document.currency}")


def _slugs_of(document: TariffDocument) -> set[str]:
    return {component.series for component in document.components if isinstance(component, Series)}


def _find_by_slug(session: Session, organisation_id: int, slug: str) -> PriceSeries | None:
    query = select(PriceSeries).where(PriceSeries.organisation_id == organisation_id, PriceSeries.slug == slug)
    return session.scalars(query).one_or_none()
