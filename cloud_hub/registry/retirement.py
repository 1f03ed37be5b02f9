"""The end of sites and controllers: first what belongs to them, then they. Callers commit."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.errors import Conflict, Invalid
from cloud_hub.registry.life_cycle import advance, kind_of
from cloud_hub.registry.models import Controller, LifeCycle, Meter, Site

_SHOWN = 3


class HasParts(Conflict):
    """Something that belongs to it is not retired yet."""


def step(
    session: Session,
    thing: Site | Controller,
    to: LifeCycle,
    *,
    who: str,
    at: datetime | None = None,
    why: str = "",
    with_parts: bool = False,
) -> None:
    """Let a site or a controller, its row locked, go on; `with_parts` retires all that belongs to it first.

    Raises: HasParts, NotThatWay, Invalid.
    """
    if to is LifeCycle.RETIRED:
        parts = _parts(session, thing)
        if parts and not with_parts:
            named = ", ".join(f"{kind_of(part)} {_name(part)}" for part in parts[:_SHOWN])
            more = "" if len(parts) <= _SHOWN else f" and {len(parts) - _SHOWN} more"
            raise HasParts(
                f"not all that belongs to it is retired ({named}{more}): retire that first, or send with_parts true"
            )
        for part in parts:
            advance(session, part, LifeCycle.RETIRED, who=who, at=at, why=why)
    elif with_parts:
        raise Invalid("with_parts goes with `to` retired: what belongs to it has a life of its own until then")
    advance(session, thing, to, who=who, at=at, why=why)


def _parts(session: Session, thing: Site | Controller) -> Sequence[Controller | Meter]:
    """List what belongs to it and is not retired, meters before controllers, and locks it."""
    meters = select(Meter).where(Meter.state != LifeCycle.RETIRED).order_by(Meter.id)
    if isinstance(thing, Controller):
        return list(session.scalars(meters.where(Meter.controller_id == thing.id).with_for_update(key_share=True)))
    controllers = select(Controller).where(Controller.site_id == thing.id, Controller.state != LifeCycle.RETIRED)
    return [
        *session.scalars(meters.where(Meter.site_id == thing.id).with_for_update(key_share=True)),
        *session.scalars(controllers.order_by(Controller.id).with_for_update(key_share=True)),
    ]


def _name(part: Controller | Meter) -> str:
    return part.id if isinstance(part, Controller) else f"{part.id} ({part.slug})"
