"""A meter's device is exchanged: history stays, the ledger goes on from the new register."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from api_client import ApiClient
from flask.testing import FlaskClient
from hub_factories import add_controller, add_meter, add_point, add_site
from ledger_rows import add_register
from registry_factories import events
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.ledger.models import Dirty, MeterExchange
from cloud_hub.registry.models import Meter, Point

AT = "2026-03-01T12:00:00Z"


@pytest.fixture
def api(client: FlaskClient) -> ApiClient:
    return ApiClient(client)


@pytest.fixture
def meter(session: Session) -> Meter:
    """A meter in service with two registers that stand for it, and a gauge."""
    meter = add_meter(session, add_controller(session, add_site(session)))
    meter.serial_number = "OLD-1"
    for direction in ("import", "export"):
        add_register(session, meter, direction=direction)
    add_point(session, meter)
    session.commit()
    return meter


def points(session: Session) -> list[int]:
    return list(session.scalars(select(Point.id).order_by(Point.id)))


def body(*registers: tuple[int, str, str], **changes: Any) -> dict[str, Any]:
    return {
        "at": AT,
        "serial_number": "NEW-2",
        "registers": [
            {"point_id": point, "closing": closing, "opening": opening} for point, closing, opening in registers
        ],
        "why": "display broken",
        **changes,
    }


def test_an_exchange_keeps_what_was_and_goes_on(api: ApiClient, session: Session, meter: Meter) -> None:
    imported, exported, _gauge = points(session)
    done = api.done("POST", f"meters/{meter.id}/exchange", body((imported, "1234.5", "0.1"), profile="eastron-sdm630"))
    assert (done["meter"]["serial_number"], done["meter"]["profile"]) == ("NEW-2", "eastron-sdm630")
    assert done["meter"]["state"] == "in_service"
    assert done["before"] == {
        "serial_number": "OLD-1",
        "profile": "eastron-sdm120",
        "removed_at": AT,
        "recorded_by": "ann@example.org",
        "why": "display broken",
    }
    assert [(one["closing"], one["opening"]) for one in done["registers"]] == [("1234.5", "0.1")]
    assert done["unread"] == [exported]
    assert api.get(f"meters/{meter.id}/devices")["items"] == [done["before"]]
    steps = api.get(f"meters/{meter.id}/life-cycle")["items"]
    assert [(step["before"], step["after"]) for step in steps] == [
        ("in_service", "replaced"),
        ("replaced", "in_service"),
    ]
    exchange = session.scalars(select(MeterExchange)).one()
    assert (exchange.point_id, exchange.at) == (imported, datetime(2026, 3, 1, 12, tzinfo=UTC))
    assert session.scalars(select(Dirty.meter_id)).all() == [meter.id]
    assert [kind for kind, _ in events(session)] == ["meter.exchanged"]


def test_an_exchange_is_whole_or_not_at_all(api: ApiClient, session: Session, meter: Meter) -> None:
    imported, _exported, gauge = points(session)
    path = f"meters/{meter.id}/exchange"
    status, reason = api.refused("POST", path, body((imported, "1", "0"), (gauge, "1", "0")))
    assert (status, reason) == (
        422,
        f"registers: 1: point_id: point {gauge} is no counter of meter {meter.id}: name one of its own",
    )
    assert api.refused("POST", path, body((imported, "-1", "0")))[0] == 422
    assert api.refused("POST", path, body(profile="no-such-profile"))[0] == 422
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert "which is to come" in api.refused("POST", path, body(at=tomorrow))[1]
    session.expire_all()
    assert session.scalars(select(MeterExchange)).all() == []
    assert session.get_one(Meter, meter.id).serial_number == "OLD-1"


def test_only_a_device_that_is_there_is_exchanged(api: ApiClient, session: Session, meter: Meter) -> None:
    meter.state = "planned"
    session.commit()
    assert api.refused("POST", f"meters/{meter.id}/exchange", body()) == (
        409,
        "the meter is planned: only a device that is in service can be exchanged",
    )
