"""A configuration is drafted, validated, published, answered and rolled back, and never changed once it is out."""

import re
from typing import Any

import pytest
from api_client import ApiClient
from configuration_factories import make_meter, make_site, sent_orders, told
from flask.testing import FlaskClient
from hub_factories import add_controller, add_site
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from cloud_hub.audit.models import AuditEvent
from cloud_hub.configuration.models import SiteConfiguration
from cloud_hub.ingest.replies import note_reply
from protocol.control import ConfigReply, ConfigState, Reply

DRAFTS = "controllers/north-1/configurations"


@pytest.fixture
def api(client: FlaskClient, session: Session) -> ApiClient:
    add_controller(session, add_site(session))
    session.commit()
    return ApiClient(client)


def draft(api: ApiClient, site: dict[str, Any] | None = None) -> str:
    made = api.done("POST", DRAFTS, {"site": site or make_site()})
    return f"configurations/{made['id']}"


def publish(api: ApiClient, path: str) -> Any:
    api.done("POST", f"{path}/validate")
    return api.done("POST", f"{path}/publish")


def published(api: ApiClient, site: dict[str, Any] | None = None) -> str:
    path = draft(api, site)
    publish(api, path)
    return path


def answer(engine: Engine, session: Session, path: str, state: ConfigState, **more: Any) -> None:
    session.expire_all()
    row = session.get_one(SiteConfiguration, int(path.rpartition("/")[2]))
    fields = {"revision": row.revision, "hash": row.hash, "state": state, "at_ms": 1_750_000_000_000, **more}
    note_reply(engine, "north-1", Reply(config=ConfigReply.model_validate(fields)))


def test_draft_becomes_a_revision_that_the_controller_acknowledges(
    api: ApiClient, engine: Engine, session: Session
) -> None:
    path = draft(api)
    validated = api.done("POST", f"{path}/validate")
    assert (validated["state"], validated["findings"]["meters"]) == ("validated", 1)
    out = api.done("POST", f"{path}/publish")
    assert (out["state"], out["revision"], out["published_by"]) == ("published", 1, "ann@example.org")
    [order] = sent_orders(session)
    assert (order.site.revision, order.site.buses[0].meters[0].id) == (1, "heater")

    answer(engine, session, path, ConfigState.APPLIED)
    shown = api.get(path)
    assert (shown["state"], shown["reason"]) == ("acknowledged", "")
    assert shown["answered_at"].startswith("2025-06-15")
    assert told(session, "configuration.") == ["configuration.published", "configuration.acknowledged"]
    actions = session.scalars(select(AuditEvent.action).where(AuditEvent.action.startswith("configuration")))
    assert list(actions) == ["configuration_drafted", "configuration_validated", "configuration_published"]


def test_refusal_of_the_controller_shows_its_reason(api: ApiClient, engine: Engine, session: Session) -> None:
    path = published(api)
    answer(engine, session, path, ConfigState.REJECTED, reason="it is signed with another key")
    shown = api.get(path)
    assert (shown["state"], shown["reason"]) == ("refused", "it is signed with another key")


def test_late_answers_change_nothing(api: ApiClient, engine: Engine, session: Session) -> None:
    first, second = published(api), published(api)
    answer(engine, session, first, ConfigState.APPLIED)
    assert api.get(first)["state"] == "superseded"
    answer(engine, session, second, ConfigState.ROLLED_BACK, reason="the hub did not answer", at_ms=2_000)
    answer(engine, session, second, ConfigState.APPLIED, at_ms=1_000)
    assert (api.get(second)["state"], api.get(second)["reason"]) == ("rolled_back", "the hub did not answer")


def test_what_the_agent_s_check_refuses_is_refused_in_its_words_and_stays_a_draft(api: ApiClient) -> None:
    path = draft(api, make_site(make_meter(points=["no_such_point"])))
    status, detail = api.refused("POST", f"{path}/validate")
    assert status == 422
    assert re.search(r"buses\[0\]\.meters\[0\]\.points: 'no_such_point' is no point of profile", detail)
    assert api.get(path)["state"] == "draft"
    status, detail = api.refused("POST", f"{path}/publish")
    assert (status, "validate it" in detail) == (409, True)


def test_changed_draft_has_to_be_validated_anew(api: ApiClient) -> None:
    path = draft(api)
    api.done("POST", f"{path}/validate")
    changed = api.done("PUT", path, {"site": make_site(make_meter(period_s=30))})
    assert (changed["state"], changed["findings"]) == ("draft", None)
    assert api.refused("POST", f"{path}/publish")[0] == 409


def test_publishing_what_another_has_changed_is_refused(api: ApiClient) -> None:
    path = draft(api)
    api.done("POST", f"{path}/validate")
    seen = api.etag(path)
    api.done("PUT", path, {"site": make_site(make_meter(period_s=30))})
    api.done("POST", f"{path}/validate")
    assert api.send("POST", f"{path}/publish", match=seen).status_code == 412
    assert api.send("POST", f"{path}/publish").status_code == 428


def test_controller_has_one_open_draft(api: ApiClient) -> None:
    path = draft(api)
    status, detail = api.refused("POST", DRAFTS, {"site": make_site()})
    assert (status, "has the open draft" in detail) == (409, True)
    api.done("DELETE", path)
    draft(api)


def test_draft_of_an_outdated_revision_is_published_after_a_look_at_the_newest(
    api: ApiClient, session: Session
) -> None:
    first = published(api)
    second = published(api, make_site(make_meter(period_s=30)))
    path = draft(api)
    api.done("POST", f"{path}/validate")
    again = api.done("POST", f"{first}/roll-back", {"note": "too fast"})
    status, detail = api.refused("POST", f"{path}/publish")
    assert (status, f"based_on = {again['id']}" in detail) == (409, True)

    api.done("PUT", path, {"site": make_site(), "based_on": again["id"]})
    assert publish(api, path)["revision"] == 4
    assert [order.site.revision for order in sent_orders(session)] == [1, 2, 3, 4]
    assert api.get(second)["state"] == "rolled_back"


def test_roll_back_publishes_what_an_earlier_revision_said(api: ApiClient, session: Session) -> None:
    first = published(api, make_site(make_meter(period_s=10)))
    second = published(api, make_site(make_meter(period_s=20)))
    again = api.done("POST", f"{first}/roll-back", {"note": "the line is slow"})
    assert (again["revision"], again["state"], again["site"]) == (3, "published", api.get(first)["site"])
    assert again["rolls_back_to"] == api.get(first)["id"]
    assert "rolled back to revision 1, which is now revision 3" in api.get(second)["reason"]
    assert sent_orders(session)[-1].site.buses[0].meters[0].period_s == 10
    status, _ = api.refused("POST", f"configurations/{again['id']}/roll-back", {})
    assert status == 409


def test_published_configuration_is_never_changed(api: ApiClient) -> None:
    path = published(api)
    for method, body in (("PUT", {"site": make_site()}), ("DELETE", None)):
        status, detail = api.refused(method, path, body)
        assert (status, "is revision 1 and published" in detail) == (409, True)


def test_revision_is_above_the_one_that_the_controller_goes_by(api: ApiClient, session: Session) -> None:
    session.execute(text("""UPDATE controllers SET health = '{"configuration": {"revision": 41}}'"""))
    session.commit()
    assert publish(api, draft(api))["revision"] == 42


def test_next_draft_begins_with_what_was_published(api: ApiClient) -> None:
    path = published(api, make_site(make_meter("boiler")))
    made = api.done("POST", DRAFTS, {})
    assert made["site"]["buses"][0]["meters"][0]["id"] == "boiler"
    assert f"configurations/{made['based_on']}" == path


def test_first_draft_begins_with_what_is_registered(api: ApiClient, session: Session) -> None:
    status, detail = api.refused("POST", DRAFTS, {})
    assert (status, "send the configuration as 'site'" in detail) == (422, True)
    session.execute(
        text(
            "INSERT INTO buses (controller_id, slug, line) VALUES ('north-1', 'hall', '{\"host\": \"192.0.2.9\"}');"
            "INSERT INTO meters (controller_id, site_id, slug, profile, period_s, unit_id, bus_id) "
            "SELECT 'north-1', c.site_id, 'chiller', 'eastron-sdm630', 30, 7, b.id FROM controllers c, buses b"
        )
    )
    session.commit()
    [bus] = api.done("POST", DRAFTS, {})["site"]["buses"]
    [meter] = bus["meters"]
    assert (bus["id"], bus["host"]) == ("hall", "192.0.2.9")
    assert (meter["id"], meter["profile"], meter["unit_id"], meter["period_s"]) == ("chiller", "eastron-sdm630", 7, 30)


def test_custom_profile_travels_with_the_revision_as_it_was_when_it_was_validated(
    api: ApiClient, session: Session
) -> None:
    profile = {
        "id": "acme-one",
        "manufacturer": "Acme",
        "model": "One",
        "category": "energy_meter",
        "confidence": "low",
        "sources": ["its manual"],
        "modbus": {"transports": ["tcp"]},
        "points": [
            {"name": "voltage", "address": 0, "table": "holding_register", "type": "uint16", "quantity": "voltage"}
        ],
    }
    custom = api.done("POST", "meter-profiles", {"organisation": "main", "profile": profile})
    path = draft(api, make_site(make_meter(profile="acme-one")))
    findings = api.done("POST", f"{path}/validate")["findings"]
    assert findings["custom_profiles"] == {
        "acme-one": {"custom_id": custom["id"], "version": 1, "hash": custom["hash"]}
    }
    profile["points"][0]["scale"] = "0.1"  # type: ignore[index]
    api.done("PUT", f"meter-profiles/{custom['id']}", {"profile": profile})
    api.done("POST", f"{path}/publish")
    [order] = sent_orders(session)
    [carried] = order.site.profiles
    assert (carried.id, str(carried.points[0].scale)) == ("acme-one", "1")
    assert api.get(path)["site"]["profiles"] == [], "what was written stays as it was"


def test_differences_are_named_key_by_key(api: ApiClient) -> None:
    first = published(api, make_site(make_meter(), make_meter("mains", unit_id=2)))
    second = draft(api, make_site(make_meter(period_s=30, label="Boiler")))
    shown = api.get(f"{second}/diff")
    by_path = {item["path"]: (item["before"], item["after"]) for item in shown["items"]}
    assert by_path["buses[cabinet].meters[heater].period_s"] == (60, 30)
    assert by_path["buses[cabinet].meters[heater].label"] == ("", "Boiler")
    assert by_path["buses[cabinet].meters[mains]"][1] is None
    assert len(by_path) == 3
    back = api.get(f"{first}/diff?against={second.rpartition('/')[2]}")["items"]
    assert {item["path"] for item in back} == set(by_path)


def test_list_is_the_newest_first_without_bodies(api: ApiClient) -> None:
    paths = [published(api), published(api), draft(api)]
    page = api.get(f"{DRAFTS}?limit=2")
    rest = api.get(f"{DRAFTS}?limit=2&cursor={page['next_cursor']}")
    assert [f"configurations/{row['id']}" for row in [*page["items"], *rest["items"]]] == paths[::-1]
    assert [row["revision"] for row in page["items"]] == [None, 2]
    assert "site" not in page["items"][0]


REFUSED = {
    "no meters": ({"site": {"buses": []}}, "buses"),
    "unknown key": ({"site": make_site(colour="red")}, "colour"),
    "an id twice": ({"site": make_site(make_meter(), make_meter())}, "'heater' is used twice"),
    "infinite": (
        {"site": make_site(make_meter(writable=[{"point": "x", "lowest": 0, "highest": 1e999}]))},
        "infinite|no number",
    ),
}


@pytest.mark.parametrize(("body", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_configuration_is_no_draft(api: ApiClient, body: dict[str, Any], reason: str) -> None:
    status, detail = api.refused("POST", DRAFTS, body)
    assert status == 422
    assert re.search(reason, detail), detail


def test_number_beyond_all_bounds_is_refused(api: ApiClient, client: FlaskClient) -> None:
    raw = '{"site": {"buses": [{"id": "b", "host": "h", "meters": [{"id": "m", "profile": "eastron-sdm120", '
    raw += '"writable": [{"point": "x", "lowest": 0, "highest": 1e999}]}]}]}}'
    answered = client.post(
        f"/api/v1/{DRAFTS}",
        data=raw,
        content_type="application/json",
        headers={"X-CSRF-Token": api._token},
    )
    assert (answered.status_code, "infinite" in answered.text) == (422, True)


def test_configuration_that_fits_no_message_is_refused(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.limits.MESSAGE_BYTES_MAX", 300)
    status, detail = api.refused("POST", f"{draft(api)}/validate")
    assert (status, "too large to send" in detail) == (422, True)


def test_controller_of_nobody_is_not_found(api: ApiClient) -> None:
    assert api.refused("GET", "controllers/south-9/configurations")[0] == 404
    assert api.refused("GET", "configurations/999")[0] == 404
