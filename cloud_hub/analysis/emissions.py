"""What a scope's energy emits, by series of factors that are put side by side and never mixed."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from decimal import Decimal, localcontext

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.analysis.books import bounds_of
from cloud_hub.analysis.costs import check_priced, flow_of
from cloud_hub.analysis.gathering import PartSums, Span, gather
from cloud_hub.analysis.limits import check_range
from cloud_hub.analysis.model import Flow, Scope
from cloud_hub.analysis.results import Emissions, Emitted
from cloud_hub.analysis.sums import add_figures, figure
from cloud_hub.tariffs.emission_series import get_emission_series, read_factors
from cloud_hub.tariffs.emissions import Emissions as SiteEmissions
from cloud_hub.tariffs.emissions import emissions_g
from cloud_hub.tariffs.models import EmissionSeries
from cloud_hub.tariffs.pricing import EXACT
from cloud_hub.tariffs.steps import Steps

SERIES_MAX = 20
"""Compared at once."""


def read_emissions(
    session: Session,
    scope: Scope,
    first: date,
    last: date,
    *,
    now: datetime,
    series_ids: Collection[int] | None = None,
    as_known_at: datetime | None = None,
) -> Emissions:
    """Return what the local days from `first` to `last`, both included, emit by each of these series.

    Left out: by all series of the scope's organisations, the first twenty. Energy that is missing is missing here too.
    Raises: Invalid for an empty or too long range and for another measure than energy, UnknownEmissionSeries.
    """
    check_range(first, last)
    check_priced(scope)
    series = _find_series(session, scope, series_ids)
    factors: dict[int, Steps] = {}
    if scope.parts and series:
        factors = read_factors(session, [each.id for each in series], *bounds_of(scope.parts, first, last))
    imported, exported = [], []
    emitted: dict[int, list[tuple[SiteEmissions, int]]] = {each.id: [] for each in series}
    for sums in gather(session, scope.parts, Span(first, last, now, as_known_at)):
        imported.append(figure(flow_of(sums, Flow.IMPORT), sums.durations_ms))
        exported.append(figure(flow_of(sums, Flow.EXPORT), sums.durations_ms))
        for series_id, steps in factors.items():
            if len(sums.grid):
                emitted[series_id].append(_emit(sums, steps))
    return Emissions(
        scope=scope,
        first=first,
        last=last,
        imported=add_figures(imported),
        exported=add_figures(exported),
        by_series=tuple(_add(each, emitted[each.id]) for each in series),
    )


def _emit(sums: PartSums, steps: Steps) -> tuple[SiteEmissions, int]:
    imported, exported = (flow_of(sums, flow).total_micro for flow in (Flow.IMPORT, Flow.EXPORT))
    found = emissions_g(sums.grid, imported, steps, exported)
    return found, int(sums.durations_ms[list(found.without_factor)].sum())


def _add(series: EmissionSeries, parts: Sequence[tuple[SiteEmissions, int]]) -> Emitted:
    with localcontext(EXACT):
        emitted = sum((part.emitted_g for part, _ in parts), Decimal())
        avoided = sum((part.avoided_g for part, _ in parts), Decimal())
    return Emitted(series, emitted, avoided, sum(without_ms for _, without_ms in parts))


def _find_series(session: Session, scope: Scope, series_ids: Collection[int] | None) -> list[EmissionSeries]:
    if series_ids is not None:
        return [get_emission_series(session, series_id) for series_id in series_ids]
    organisation_ids = {part.organisation_id for part in scope.parts}
    query = select(EmissionSeries).where(EmissionSeries.organisation_id.in_(organisation_ids))
    return list(session.scalars(query.order_by(EmissionSeries.id).limit(SERIES_MAX)))
