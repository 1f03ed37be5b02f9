"""Makers of tariffs and emission factors for tests of what is priced and judged by them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy.orm import Session

from cloud_hub.registry.models import Site
from cloud_hub.tariffs.document import parse_tariff
from cloud_hub.tariffs.emission_series import Basis, FactorsAre, create_emission_series, put_factors
from cloud_hub.tariffs.models import EmissionSeries
from cloud_hub.tariffs.service import add_version, assign_tariff, create_tariff
from cloud_hub.tariffs.spans import Span

START = datetime(2025, 1, 1, tzinfo=UTC)
END = datetime(2027, 1, 1, tzinfo=UTC)


def flat(price: str, **more: Any) -> dict[str, Any]:
    """Describe a price per kWh that never changes."""
    return {"kind": "flat", "name": "Energy", "price_per_kwh": price, **more}


def assign(
    session: Session, site: Site, *components: dict[str, Any], currency: str = "EUR", valid_from: datetime = START
) -> None:
    """Give a site a tariff of its own, of these components."""
    slug = f"tariff-of-{site.slug}"
    tariff = create_tariff(
        session, organisation_id=site.organisation_id, slug=slug, name=slug, currency=currency, who="test"
    )
    document = parse_tariff({"currency": currency, "components": list(components)})
    add_version(session, tariff.id, document, valid_from=valid_from, who="test")
    assign_tariff(session, site, tariff.id, valid_from=valid_from, who="test")


def add_factors(
    session: Session,
    slug: str,
    *values: tuple[datetime, datetime, str],
    basis: Basis = Basis.LOCATION,
    organisation_id: int = 1,
) -> EmissionSeries:
    """Add a series of emission factors in g per kWh."""
    facts = FactorsAre(name=slug.title(), region="DE", publisher="Agency", year=2026, basis=basis)
    series = create_emission_series(session, organisation_id=organisation_id, slug=slug, factors=facts, who="test")
    spans = [Span(start, end, Decimal(value)) for start, end, value in values]
    put_factors(session, series.id, spans, start=START, end=END, who="test")
    return series
