"""Series of emission factors. Callers commit."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.audit.service import record
from cloud_hub.errors import Conflict, NotFound
from cloud_hub.tariffs.models import EmissionFactor, EmissionSeries
from cloud_hub.tariffs.spans import Span, read_spans, replace_spans
from cloud_hub.tariffs.steps import Steps


class UnknownEmissionSeries(NotFound):
    """No series of factors has that id."""


class Basis(StrEnum):
    """What a factor stands for; both are reported side by side."""

    LOCATION = "location"
    """The grid's average."""
    MARKET = "market"
    """The contract's: certificates, or the residual mix."""


class FactorKind(StrEnum):
    """What a factor is good for."""

    AVERAGE = "average"
    """Accounts."""
    MARGINAL = "marginal"
    """The effect of shifting load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorsAre:
    """All that says what a series may be compared with."""

    name: str
    region: str
    publisher: str
    year: int | None = None
    basis: Basis
    kind: FactorKind = FactorKind.AVERAGE
    life_cycle: bool = False
    with_losses: bool = False


def create_emission_series(
    session: Session, *, organisation_id: int, slug: str, factors: FactorsAre, who: str
) -> EmissionSeries:
    """Add a series without factors yet.

    Raises: Conflict when the organisation has one of that slug.
    """
    known = select(EmissionSeries.id).where(
        EmissionSeries.organisation_id == organisation_id, EmissionSeries.slug == slug
    )
    if session.scalars(known).one_or_none() is not None:
        raise Conflict(f"there is a series of emission factors {slug!r} already: add to it, or choose another slug")
    series = EmissionSeries(
        organisation_id=organisation_id,
        slug=slug,
        name=factors.name,
        region=factors.region,
        publisher=factors.publisher,
        year=factors.year,
        basis=factors.basis.value,
        kind=factors.kind.value,
        life_cycle=factors.life_cycle,
        with_losses=factors.with_losses,
    )
    session.add(series)
    session.flush()
    subject = f"emission_series:{series.id}"
    detail = {"slug": slug, "name": factors.name, "basis": factors.basis.value}
    record(session, organisation_id, who=who, action="emission_series_created", subject=subject, detail=detail)
    return series


def get_emission_series(session: Session, series_id: int) -> EmissionSeries:
    """Return the series of factors with that id.

    Raises: UnknownEmissionSeries.
    """
    series = session.get(EmissionSeries, series_id)
    if series is None:
        raise UnknownEmissionSeries(f"there is no series of emission factors {series_id}")
    return series


def put_factors(
    session: Session, series_id: int, spans: Sequence[Span], *, start: datetime, end: datetime, who: str
) -> None:
    """Replace a series' factors in `[start, end)`.

    Raises: UnknownEmissionSeries, Invalid, Conflict (`replace_spans`).
    """
    series = get_emission_series(session, series_id)
    session.execute(select(EmissionSeries.id).where(EmissionSeries.id == series_id).with_for_update(key_share=True))
    replace_spans(session, EmissionFactor, series_id, spans, start=start, end=end)
    detail = {"from": start.isoformat(), "to": end.isoformat(), "factors": len(spans)}
    subject = f"emission_series:{series_id}"
    record(session, series.organisation_id, who=who, action="emission_factors_put", subject=subject, detail=detail)


def read_factors(session: Session, series_ids: Collection[int], start: datetime, end: datetime) -> dict[int, Steps]:
    """Read the factors in `[start, end)` by series."""
    return read_spans(session, EmissionFactor, series_ids, start, end)
