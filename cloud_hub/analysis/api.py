"""The analysis as JSON: the same questions for a site, a meter, a group and an organisation."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel
from sqlalchemy.orm import Session

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.analysis import service
from cloud_hub.analysis.comparison import read_comparison
from cloud_hub.analysis.costs import read_cost
from cloud_hub.analysis.emissions import read_emissions
from cloud_hub.analysis.model import Scope, Step
from cloud_hub.analysis.questions import (
    ComparisonQuestion,
    CostQuestion,
    EmissionsQuestion,
    EnergyQuestion,
    HeatMapQuestion,
    ProfileQuestion,
    Question,
)
from cloud_hub.analysis.schemas import ComparisonOut, CostOut, EmissionsOut, EnergyOut, HeatMapOut, ProfileOut
from cloud_hub.analysis.scopes import find_group, find_meter, find_organisation, find_site
from cloud_hub.analysis.shapes import comparison_out, cost_out, emissions_out, energy_out, heat_map_out, profile_out
from cloud_hub.errors import Invalid
from cloud_hub.web.database import request_session

BUCKETS_MAX = 40_000
"""Of one answer by intervals: two years of half hours, four months of 5 minutes."""

api = routes.api("analysis_api", tag="Analysis")

_PLACES = {
    "site": "sites/<site>",
    "organisation": "organisations/<organisation>",
    "meter": "meters/<id:meter_id>",
    "group": "groups/<id:group_id>",
}

_View = TypeVar("_View", bound=Callable[..., BaseModel])


def _of_every_scope(name: str, query: type[Question], answer: type[BaseModel]) -> Callable[[_View], _View]:
    """Give a view its four addresses."""

    def register(view: _View) -> _View:
        for kind, place in _PLACES.items():
            endpoint = f"{view.__name__}_of_{kind}"
            api.get(
                f"/{place}/{name}", permission=Permission.ENERGY_READ, endpoint=endpoint, query=query, answer=answer
            )(view)
        return view

    return register


@_of_every_scope("energy", EnergyQuestion, EnergyOut)
def get_energy(query: EnergyQuestion, **place: Any) -> EnergyOut:  # noqa: ANN401 - slugs and ids out of the address
    """Return totals and a series by `step`."""
    session = request_session()
    scope = _find_scope(session, place, query.quantity)
    if query.step is Step.INTERVAL and scope.parts:
        shortest_s = min(part.interval_s for part in scope.parts)
        days_max = BUCKETS_MAX * shortest_s // 86_400
        if (query.last - query.start).days >= days_max:
            raise Invalid(f"step is interval: ask for at most {days_max} days at once, or for step=day")
    return energy_out(
        service.read_series(
            session, scope, query.start, query.last, query.step, now=_now(), as_known_at=query.as_known_at
        )
    )


@_of_every_scope("profile", ProfileQuestion, ProfileOut)
def get_profile(query: ProfileQuestion, **place: Any) -> ProfileOut:  # noqa: ANN401 - as above
    """Return operating hours, peak, base load and the shape of the day."""
    session = request_session()
    scope = _find_scope(session, place, query.quantity)
    profile = service.read_profile(
        session, scope, query.start, query.last, flow=query.flow, now=_now(), as_known_at=query.as_known_at
    )
    return profile_out(profile, query.flow)


@_of_every_scope("heatmap", HeatMapQuestion, HeatMapOut)
def get_heat_map(query: HeatMapQuestion, **place: Any) -> HeatMapOut:  # noqa: ANN401 - as above
    """Return mean power by local day and wall clock."""
    session = request_session()
    scope = _find_scope(session, place, query.quantity)
    heat = service.read_heat_map(
        session, scope, query.start, query.last, flow=query.flow, now=_now(), as_known_at=query.as_known_at
    )
    return heat_map_out(heat, query.flow, {"start": query.start, "end": query.end})


@_of_every_scope("comparison", ComparisonQuestion, ComparisonOut)
def get_comparison(query: ComparisonQuestion, **place: Any) -> ComparisonOut:  # noqa: ANN401 - as above
    """Return the range beside earlier ones."""
    session = request_session()
    comparison = read_comparison(
        session,
        _find_scope(session, place, query.quantity),
        query.start,
        query.last,
        query.reference,
        flow=query.flow,
        periods=query.periods,
        threshold=10 * query.threshold,
        now=_now(),
        as_known_at=query.as_known_at,
    )
    return comparison_out(comparison, query.reference)


@_of_every_scope("cost", CostQuestion, CostOut)
def get_cost(query: CostQuestion, **place: Any) -> CostOut:  # noqa: ANN401 - as above
    """Return bills by site; with `trace`, the intervals of every line."""
    session = request_session()
    scope = _find_scope(session, place, query.quantity)
    cost = read_cost(session, scope, query.start, query.last, now=_now(), as_known_at=query.as_known_at)
    return cost_out(cost, is_traced=query.trace)


@_of_every_scope("emissions", EmissionsQuestion, EmissionsOut)
def get_emissions(query: EmissionsQuestion, **place: Any) -> EmissionsOut:  # noqa: ANN401 - as above
    """Return emissions by each series of factors; `series` names one and may come several times."""
    session = request_session()
    scope = _find_scope(session, place, query.quantity)
    series_ids = None if query.series is None else list(dict.fromkeys(query.series))
    return emissions_out(
        read_emissions(
            session,
            scope,
            query.start,
            query.last,
            series_ids=series_ids,
            now=_now(),
            as_known_at=query.as_known_at,
        )
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _find_scope(session: Session, place: dict[str, Any], quantity: str | None) -> Scope:
    if "site" in place:
        return find_site(session, place["site"], quantity)
    if "organisation" in place:
        return find_organisation(session, place["organisation"], quantity)
    if "meter_id" in place:
        return find_meter(session, place["meter_id"], quantity)
    return find_group(session, place["group_id"], quantity)
