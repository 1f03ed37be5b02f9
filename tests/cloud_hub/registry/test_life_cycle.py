"""Lives go on step by step; commissioning says from when on readings count."""

from datetime import UTC, datetime, timedelta

import pytest
from api_client import ApiClient
from flask.testing import FlaskClient
from hub_factories import add_controller, add_site
from registry_factories import events, meter_body
from sqlalchemy.orm import Session

from cloud_hub.registry.life_cycle import FOLLOWS
from cloud_hub.registry.models import LifeCycle, Meter

STEPS = [(before, after) for before in LifeCycle for after in LifeCycle if after is not LifeCycle.REPLACED]
AT = "2026-03-01T12:00:00Z"


@pytest.fixture
def api(client: FlaskClient, session: Session) -> ApiClient:
    add_controller(session, add_site(session))
    session.commit()
    return ApiClient(client)


def test_a_life_goes_on_as_allowed_and_in_no_other_way(api: ApiClient, session: Session) -> None:
    made = api.done("POST", "meters/bulk", {"items": [meter_body(f"m{n}") for n in range(len(STEPS))]})
    ids = [item["meter"]["id"] for item in made["items"]]
    for meter_id, (before, _) in zip(ids, STEPS, strict=True):
        session.get_one(Meter, meter_id).state = before
    session.commit()
    for meter_id, (before, after) in zip(ids, STEPS, strict=True):
        answer = api.send("POST", f"meters/{meter_id}/life-cycle", {"to": after})
        assert answer.status_code == (200 if after in FOLLOWS[before] else 409), (before, after, answer.text)


def test_each_step_has_its_instant_and_who_said_so(api: ApiClient, session: Session) -> None:
    path = f"meters/{api.done('POST', 'meters', meter_body())['id']}"
    stepped = api.done("POST", f"{path}/life-cycle", {"to": "commissioned", "at": AT, "why": "handed over"})
    assert (stepped["state"], stepped["commissioned_at"]) == ("commissioned", AT)
    api.done("POST", f"{path}/life-cycle", {"to": "in_service"})
    born, commissioned, in_service = api.get(f"{path}/life-cycle")["items"]
    assert (born["before"], born["after"]) == (None, "planned")
    assert {name: commissioned[name] for name in ("before", "after", "at", "recorded_by", "why")} == {
        "before": "planned",
        "after": "commissioned",
        "at": AT,
        "recorded_by": "ann@example.org",
        "why": "handed over",
    }
    assert in_service["at"] == in_service["recorded_at"] or in_service["at"] > AT
    assert [kind for kind, _ in events(session)] == ["meter.created", "meter.commissioned", "meter.in_service"]


def test_a_step_is_neither_to_come_nor_before_the_last(api: ApiClient) -> None:
    path = f"meters/{api.done('POST', 'meters', meter_body())['id']}/life-cycle"
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert "which is to come" in api.refused("POST", path, {"to": "commissioned", "at": tomorrow})[1]
    api.done("POST", path, {"to": "commissioned", "at": AT})
    status, reason = api.refused("POST", path, {"to": "in_service", "at": "2026-02-28T12:00:00Z"})
    assert (status, reason) == (
        422,
        f"at is before {AT}, when it became commissioned: steps of a life are recorded in order of time",
    )


def test_a_meter_is_replaced_by_another_of_its_site(api: ApiClient) -> None:
    old, new = (api.done("POST", "meters", meter_body(slug, state="in_service"))["id"] for slug in ("old", "new"))
    path = f"meters/{old}/life-cycle"
    assert "replaced_by goes with `to` replaced" in api.refused("POST", path, {"to": "replaced"})[1]
    assert "name another meter" in api.refused("POST", path, {"to": "replaced", "replaced_by": old})[1]
    replaced = api.done("POST", path, {"to": "replaced", "replaced_by": new})
    assert (replaced["state"], replaced["replaced_by_id"]) == ("replaced", new)
    assert api.done("POST", path, {"to": "retired"})["state"] == "retired"


def test_only_meters_are_replaced(api: ApiClient) -> None:
    assert api.refused("POST", "sites/north/life-cycle", {"to": "replaced"}) == (
        409,
        "the site is in service and cannot become replaced: what may follow is retired",
    )
