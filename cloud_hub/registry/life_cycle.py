"""The lives of sites, controllers and meters: what may follow what, when it was, and who said so. Callers commit."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from cloud_hub.errors import Conflict, Invalid
from cloud_hub.registry.changes import tell_commissioned
from cloud_hub.registry.history_models import LifeCycleChange
from cloud_hub.registry.models import Controller, LifeCycle, Meter, Site
from cloud_hub.registry.trail import note, where

Living = Site | Controller | Meter

_L = LifeCycle
FOLLOWS: Final[Mapping[LifeCycle, tuple[LifeCycle, ...]]] = {
    _L.PLANNED: (_L.COMMISSIONED, _L.RETIRED),
    _L.COMMISSIONED: (_L.IN_SERVICE, _L.RETIRED),
    _L.IN_SERVICE: (_L.REPLACED, _L.RETIRED),
    _L.REPLACED: (_L.RETIRED,),
    _L.RETIRED: (),
}
"""What may follow each state. Only meters are replaced."""

_AHEAD = timedelta(minutes=5)
"""How far a clock may be ahead of the hub's."""


class NotThatWay(Conflict):
    """Its life does not go on like that."""


def begin_life(
    session: Session, thing: Living, *, who: str, at: datetime | None = None, why: str = ""
) -> LifeCycleChange:
    """Record the state in which a thing is registered; it must have been flushed."""
    moment = at or datetime.now(UTC)
    change = LifeCycleChange(before=None, after=thing.state, at=moment, recorded_by=who, why=why)
    return _add(session, thing, change)


def advance(
    session: Session, thing: Living, to: LifeCycle, *, who: str, at: datetime | None = None, why: str = ""
) -> LifeCycleChange:
    """Let a site, a controller or a meter go on to another state; its row must be locked.

    `at` is when it happened; left out: now. A meter's readings count from its commissioning on.
    Raises: NotThatWay, Invalid for an instant to come, or before the step before.
    """
    _check(session, thing, to, at)
    moment, before = at or datetime.now(UTC), LifeCycle(thing.state)
    thing.state = to
    change = LifeCycleChange(before=before, after=to, at=moment, recorded_by=who, why=why)
    _add(session, thing, change)
    if isinstance(thing, Meter) and to is LifeCycle.COMMISSIONED:
        tell_commissioned(session, thing, moment, who)
    said = {"before": before, "after": to, "at": moment.astimezone(UTC).isoformat()}
    kind = f"{kind_of(thing)}.{to}"
    note(session, where(thing), who=who, kind=kind, detail=said | {"why": change.why}, data=said | label_of(thing))
    return change


def put_in_service(session: Session, thing: Living, *, who: str, why: str) -> None:
    """Let what has been seen to work be in service, by all steps that are still missing."""
    for step in (LifeCycle.COMMISSIONED, LifeCycle.IN_SERVICE):
        if step in FOLLOWS[LifeCycle(thing.state)]:
            advance(session, thing, step, who=who, why=why)


def list_life(session: Session, thing: Living) -> list[LifeCycleChange]:
    """List the steps of a life, oldest first."""
    query = select(LifeCycleChange).where(_key(thing)).order_by(LifeCycleChange.id)
    return list(session.scalars(query))


def kind_of(thing: Living) -> str:
    """Say what kind of thing it is, as events name it."""
    return {Site: "site", Controller: "controller", Meter: "meter"}[type(thing)]


def label_of(thing: Living) -> dict[str, str]:
    """Return what people call it, for events."""
    if isinstance(thing, Controller):
        return {"controller": thing.id}
    if isinstance(thing, Meter):
        return {"controller": thing.controller_id, "meter": thing.slug}
    return {"site": thing.slug}


def add_step(
    session: Session, thing: Living, before: LifeCycle, after: LifeCycle, *, at: datetime, who: str, why: str
) -> None:
    """Record a step that leaves the state as it is, such as half of an exchange."""
    _add(session, thing, LifeCycleChange(before=before, after=after, at=at, recorded_by=who, why=why))


def check_instant(session: Session, thing: Living, at: datetime) -> None:
    """Refuse an instant to come, and one before the last step.

    Raises: Invalid.
    """
    now = datetime.now(UTC)
    if at > now + _AHEAD:
        raise Invalid(
            f"at is {at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}, which is to come: record it when it has happened"
        )
    last = next(reversed(list_life(session, thing)), None)
    if last is not None and last.before is not None and at < last.at:
        raise Invalid(
            f"at is before {last.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}, when it became {_text(LifeCycle(last.after))}: "
            "steps of a life are recorded in order of time"
        )


def _check(session: Session, thing: Living, to: LifeCycle, at: datetime | None) -> None:
    before = LifeCycle(thing.state)
    allowed = [step for step in FOLLOWS[before] if isinstance(thing, Meter) or step is not LifeCycle.REPLACED]
    if to not in allowed:
        may = " or ".join(_text(step) for step in allowed)
        raise NotThatWay(
            f"the {kind_of(thing)} is {_text(before)} and cannot become {_text(to)}: "
            + (f"what may follow is {may}" if may else "nothing follows; register another one")
        )
    if at is not None:
        check_instant(session, thing, at)


def _add(session: Session, thing: Living, change: LifeCycleChange) -> LifeCycleChange:
    match thing:
        case Site():
            change.site_id = thing.id
        case Controller():
            change.controller_id = thing.id
        case Meter():
            change.meter_id = thing.id
    session.add(change)
    return change


def _key(thing: Living) -> ColumnElement[bool]:
    match thing:
        case Site():
            return LifeCycleChange.site_id == thing.id
        case Controller():
            return LifeCycleChange.controller_id == thing.id
    return LifeCycleChange.meter_id == thing.id


def _text(state: LifeCycle) -> str:
    return state.replace("_", " ")
