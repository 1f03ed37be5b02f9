"""Meters that were exchanged: what the old register ended with, and the new one began with. Callers commit."""

from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.errors import Conflict, Invalid, NotFound
from cloud_hub.ledger import dirty
from cloud_hub.ledger.models import MeterExchange
from cloud_hub.ledger.trail import instant_text, note_deed
from cloud_hub.registry.models import Meter
from cloud_hub.registry.queries import get_meter, get_point
from protocol.manifest import PointKind


def record_exchange(
    session: Session, point_id: int, *, at: datetime, closing: Decimal, opening: Decimal, who: str, why: str = ""
) -> MeterExchange:
    """Note that one register ended with `closing` and the next began with `opening`, as read, before `scale`.

    Raises: UnknownPoint, Invalid, Conflict.
    """
    point = get_point(session, point_id)
    if point.kind != PointKind.COUNTER.value:
        raise Invalid(f"point {point_id} ({point.name}) is no counter: only a counter's register can be exchanged")
    if at > datetime.now(UTC):
        raise Invalid(f"the exchange is at {at:%Y-%m-%dT%H:%M:%SZ}, which is to come: record it when it is done")
    if closing < 0 or opening < 0:
        raise Invalid("a register's reading is not below 0: send what the old and the new one showed")
    session.execute(select(Meter.id).where(Meter.id == point.meter_id).with_for_update(key_share=True))
    known = session.scalars(
        select(MeterExchange).where(
            MeterExchange.point_id == point_id, MeterExchange.at == at, MeterExchange.withdrawn_at.is_(None)
        )
    ).first()
    if known is not None:
        raise Conflict(f"exchange {known.id} of point {point_id} is at the same instant: withdraw that one first")
    exchange = MeterExchange(
        point_id=point_id, at=at, closing=closing, opening=opening, recorded_by=who, why=why.strip()
    )
    session.add(exchange)
    session.flush()
    _finish(session, exchange, who, "exchange_recorded")
    return exchange


def withdraw_exchange(session: Session, exchange_id: int, *, who: str) -> MeterExchange:
    """Let an exchange that was recorded in error count no more.

    Raises: NotFound, Conflict when it is withdrawn already.
    """
    exchange = session.get(MeterExchange, exchange_id, with_for_update=True)
    if exchange is None:
        raise NotFound(f"there is no meter exchange {exchange_id}")
    if exchange.withdrawn_at is not None:
        raise Conflict(f"meter exchange {exchange_id} was withdrawn already, by {exchange.withdrawn_by}")
    exchange.withdrawn_at, exchange.withdrawn_by = datetime.now(UTC), who
    session.flush()
    _finish(session, exchange, who, "exchange_withdrawn")
    return exchange


def list_exchanges(session: Session, point_id: int) -> list[MeterExchange]:
    """List a register's exchanges in order of time, the withdrawn ones among them."""
    query = select(MeterExchange).where(MeterExchange.point_id == point_id)
    return list(session.scalars(query.order_by(MeterExchange.at, MeterExchange.id)))


def _finish(session: Session, exchange: MeterExchange, who: str, action: str) -> None:
    meter = get_meter(session, get_point(session, exchange.point_id).meter_id)
    at_ms = ms_of_instant(exchange.at)
    dirty.mark(session.connection(), [(meter.id, at_ms, at_ms)])
    detail = {
        "exchange": exchange.id,
        "at": instant_text(exchange.at),
        "closing": str(exchange.closing),
        "opening": str(exchange.opening),
        "why": exchange.why,
    }
    note_deed(session, meter, who=who, action=action, subject=f"point:{exchange.point_id}", detail=detail)
