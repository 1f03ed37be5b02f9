"""Makers of configurations for tests of the hub."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.configuration.models import Downlink
from cloud_hub.events.models import Event
from protocol.control import ConfigOrder, parse_config_order


def make_meter(meter_id: str = "heater", **changes: Any) -> dict[str, Any]:
    """Make a meter of the library as JSON."""
    return {"id": meter_id, "profile": "eastron-sdm120", "unit_id": 1, "period_s": 60, **changes}


def make_site(*meters: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Make a site of one gateway as JSON."""
    return {"buses": [{"id": "cabinet", "host": "192.0.2.7", "meters": list(meters) or [make_meter()]}], **changes}


def sent_orders(session: Session) -> list[ConfigOrder]:
    """Return the configurations in the outbox, in order."""
    session.expire_all()
    rows = session.scalars(select(Downlink).where(Downlink.configuration_id.is_not(None)).order_by(Downlink.id))
    return [parse_config_order(row.body) for row in rows]


def told(session: Session, prefix: str) -> list[str]:
    """Return the kinds of events that subscribers were told, in order."""
    kinds = session.scalars(select(Event.kind).where(Event.kind.startswith(prefix)).order_by(Event.id))
    return list(kinds)
