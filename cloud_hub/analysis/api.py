"""The analysis as JSON: the same questions for a site, a meter, a group and an organisation."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session

from cloud_hub.analysis import service
from cloud_hub.analysis.comparison import COMPARABLE_FROM, Reference, read_comparison
from cloud_hub.analysis.costs import read_cost
from cloud_hub.analysis.emissions import SERIES_MAX, read_emissions
from cloud_hub.analysis.model import Flow, Scope, Step
from cloud_hub.analysis.scopes import find_group, find_meter, find_organisation, find_site
from cloud_hub.analysis.shapes import comparison_out, cost_out, emissions_out, energy_out, heat_map_out, profile_out
from cloud_hub.errors import Invalid
from cloud_hub.web.database import request_session
from cloud_hub.web.json import answer_json
from cloud_hub.web.parameters import parse_instant, parse_whole

BUCKETS_MAX = 40_000
"""Of one answer by intervals: two years of half hours, four months of 5 minutes."""
HEAT_DAYS_MAX = 800

api = Blueprint("analysis_api", __name__, url_prefix="/api/v1")

_View = Callable[..., Response]
_Word = TypeVar("_Word", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What every question of this blueprint says."""

    session: Session
    scope: Scope
    first: date
    last: date
    known: dict[str, Any]
    """`now` and, where the request names one, `as_known_at`."""


def _of_every_scope(name: str) -> Callable[[_View], _View]:
    """Give a view its four addresses."""

    def register(view: _View) -> _View:
        for place in ("sites/<slug>", "organisations/<organisation>", "meters/<id:meter_id>", "groups/<id:group_id>"):
            api.add_url_rule(f"/{place}/{name}", endpoint=view.__name__, view_func=view)
        return view

    return register


@_of_every_scope("energy")
def get_energy(**place: Any) -> Response:  # noqa: ANN401 - slugs and ids out of the address
    """Return totals and a series by `step`."""
    asked = _read_question(place)
    step = _parse_word("step", Step, Step.DAY)
    if step is Step.INTERVAL and asked.scope.parts:
        shortest_s = min(part.interval_s for part in asked.scope.parts)
        days_max = BUCKETS_MAX * shortest_s // 86_400
        if (asked.last - asked.first).days >= days_max:
            raise Invalid(f"step is interval: ask for at most {days_max} days at once, or for step=day")
    series = service.read_series(asked.session, asked.scope, asked.first, asked.last, step, **asked.known)
    return answer_json(energy_out(series))


@_of_every_scope("profile")
def get_profile(**place: Any) -> Response:  # noqa: ANN401 - as above
    """Return operating hours, peak, base load and the shape of the day."""
    asked = _read_question(place)
    flow = _parse_word("flow", Flow, Flow.IMPORT)
    profile = service.read_profile(asked.session, asked.scope, asked.first, asked.last, flow=flow, **asked.known)
    return answer_json(profile_out(profile, flow))


@_of_every_scope("heatmap")
def get_heat_map(**place: Any) -> Response:  # noqa: ANN401 - as above
    """Return mean power by local day and wall clock."""
    asked = _read_question(place)
    if (asked.last - asked.first).days >= HEAT_DAYS_MAX:
        raise Invalid(f"the range has more than {HEAT_DAYS_MAX} days: a heat map holds at most that many")
    flow = _parse_word("flow", Flow, Flow.IMPORT)
    heat = service.read_heat_map(asked.session, asked.scope, asked.first, asked.last, flow=flow, **asked.known)
    return answer_json(heat_map_out(heat, flow, {"start": asked.first, "end": asked.last + timedelta(days=1)}))


@_of_every_scope("comparison")
def get_comparison(**place: Any) -> Response:  # noqa: ANN401 - as above
    """Return the range beside earlier ones."""
    asked = _read_question(place)
    reference = _parse_word("reference", Reference, Reference.PREVIOUS)
    comparison = read_comparison(
        asked.session,
        asked.scope,
        asked.first,
        asked.last,
        reference,
        flow=_parse_word("flow", Flow, Flow.IMPORT),
        periods=parse_whole(request.args, "periods", default=4, lowest=1, highest=53),
        threshold=10 * parse_whole(request.args, "threshold", default=COMPARABLE_FROM // 10, lowest=1, highest=100),
        **asked.known,
    )
    return answer_json(comparison_out(comparison, reference))


@_of_every_scope("cost")
def get_cost(**place: Any) -> Response:  # noqa: ANN401 - as above
    """Return bills by site; with `trace=1`, the intervals of every line."""
    asked = _read_question(place)
    is_traced = parse_whole(request.args, "trace", default=0, lowest=0, highest=1) == 1
    cost = read_cost(asked.session, asked.scope, asked.first, asked.last, **asked.known)
    return answer_json(cost_out(cost, is_traced=is_traced))


@_of_every_scope("emissions")
def get_emissions(**place: Any) -> Response:  # noqa: ANN401 - as above
    """Return emissions by each series of factors; `series` names one and may come several times."""
    asked = _read_question(place)
    emissions = read_emissions(
        asked.session, asked.scope, asked.first, asked.last, series_ids=_parse_series(), **asked.known
    )
    return answer_json(emissions_out(emissions))


def _parse_series() -> list[int] | None:
    texts = request.args.getlist("series")
    if len(texts) > SERIES_MAX:
        raise Invalid(f"series is there {len(texts)} times: ask for at most {SERIES_MAX} at once")
    ids = [parse_whole({"series": text}, "series", default=0, lowest=1, highest=2**53) for text in texts]
    return list(dict.fromkeys(ids)) or None


def _read_question(place: dict[str, Any]) -> _Asked:
    first, end = _parse_day("from"), _parse_day("to")
    if end <= first:
        raise Invalid("to is not after from: a range begins with the day from and ends before the day to")
    session = request_session()
    known: dict[str, Any] = {"now": datetime.now(UTC)}
    if "as_known_at" in request.args:
        known["as_known_at"] = parse_instant(request.args, "as_known_at")
    return _Asked(session, _find_scope(session, place), first, end - timedelta(days=1), known)


def _find_scope(session: Session, place: dict[str, Any]) -> Scope:
    quantity = request.args.get("quantity")
    if "slug" in place:
        return find_site(session, place["slug"], quantity)
    if "organisation" in place:
        return find_organisation(session, place["organisation"], quantity)
    if "meter_id" in place:
        return find_meter(session, place["meter_id"], quantity)
    return find_group(session, place["group_id"], quantity)


def _parse_day(name: str) -> date:
    text = request.args.get(name)
    if text is None:
        raise Invalid(f"{name} is missing: send a day of the site's calendar such as 2026-01-31")
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise Invalid(f"{name} is {text!r}: send a day of the site's calendar such as 2026-01-31") from error
    if not date(1971, 1, 1) <= day <= date(2199, 12, 31):
        raise Invalid(f"{name} is {text!r}, which no ledger reaches: send a day from 1971 to 2199")
    return day


def _parse_word(name: str, words: type[_Word], default: _Word) -> _Word:
    text = request.args.get(name, default.value)
    try:
        return words(text)
    except ValueError as error:
        raise Invalid(f"{name} is {text!r}: send one of {', '.join(words)}") from error
