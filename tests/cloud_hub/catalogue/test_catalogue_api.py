"""The catalogue offers what comes with the program and what organisations add, and never changes a version."""

import re
from typing import Any

import pytest
from api_client import ApiClient
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.audit.models import AuditEvent
from cloud_hub.catalogue.service import body_of, content_hash, find_offered
from cloud_hub.organisations.models import Organisation
from protocol.library import get_profile, load_library, profile_ids
from protocol.profile import Profile

TOML = """
id = "acme-one"
manufacturer = "Acme"
model = "One 100% pure"
category = "energy_meter"
confidence = "low"
sources = ["its manual"]

[modbus]
transports = ["tcp"]

[[points]]
name = "voltage"
address = 0
table = "holding_register"
type = "uint16"
quantity = "voltage"
scale = 0.1
"""


@pytest.fixture
def api(client: FlaskClient) -> ApiClient:
    return ApiClient(client)


def upload(text: str = TOML, **more: Any) -> dict[str, Any]:
    return {"organisation": "main", "toml": text, **more}


def found(api: ApiClient, query: str) -> list[str]:
    return [item["profile"] for item in api.get(f"meter-profiles?{query}")["items"]]


@pytest.mark.parametrize("profile_id", profile_ids())
def test_every_profile_comes_back_from_json_as_it_was(profile_id: str) -> None:
    profile = get_profile(profile_id)
    body = body_of(profile)
    assert Profile.model_validate(body) == profile
    assert content_hash(body) == content_hash(body_of(Profile.model_validate(body)))


def test_catalogue_is_searched_by_what_is_known_of_a_meter(api: ApiClient) -> None:
    api.done("POST", "meter-profiles", upload())
    assert found(api, "text=SDM120") == ["eastron-sdm120"]
    assert found(api, "manufacturer=acme") == ["acme-one"]
    assert found(api, "text=100%25") == ["acme-one"]
    assert "eastron-sdm120" in found(api, "manufacturer=eastron&quantity=voltage")
    assert "acme-one" in found(api, "quantity=voltage&custom=true")
    assert found(api, "quantity=voltage&custom=false&manufacturer=acme") == []
    categories = {item["category"] for item in api.get("meter-profiles?category=energy_meter&limit=500")["items"]}
    assert categories == {"energy_meter"}


def test_list_goes_through_all_profiles_page_by_page(api: ApiClient) -> None:
    api.done("POST", "meter-profiles", upload())
    api.done("POST", "meter-profiles", upload(TOML.replace("acme-one", "zeta.own")))
    seen: list[str] = []
    cursor = ""
    while True:
        page = api.get(f"meter-profiles?limit=7{cursor}")
        seen += [item["profile"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == sorted([*load_library(), "acme-one", "zeta.own"])


def test_library_profile_is_read_by_its_id(api: ApiClient) -> None:
    assert Profile.model_validate(api.get("meter-profiles/library/eastron-sdm120")) == get_profile("eastron-sdm120")
    status, detail = api.refused("GET", "meter-profiles/library/eastron-sdm12")
    assert (status, "did you mean" in detail) == (404, True)


def test_changed_profile_gets_a_version_and_keeps_the_earlier_one(api: ApiClient, session: Session) -> None:
    made = api.done("POST", "meter-profiles", upload())
    path = f"meter-profiles/{made['id']}"
    changed = api.done("PUT", path, {"toml": TOML.replace("0.1", "0.01")})
    assert (made["version"], changed["version"]) == (1, 2)
    assert changed["hash"] != made["hash"]
    versions = api.get(f"{path}/versions")["items"]
    assert [version["number"] for version in versions] == [2, 1]
    first = api.get(f"{path}/versions/1")
    assert first["profile"]["points"][0]["scale"] == "0.1"
    assert api.done("PUT", path, {"profile": changed["profile"]})["version"] == 2, "the same again is no version"
    actions = session.scalars(select(AuditEvent.action).where(AuditEvent.subject == f"meter_profile:{made['id']}"))
    assert list(actions) == ["profile_created", "profile_changed"]


def test_change_of_what_another_has_changed_is_refused(api: ApiClient) -> None:
    path = f"meter-profiles/{api.done('POST', 'meter-profiles', upload())['id']}"
    seen = api.etag(path)
    api.done("PUT", path, {"toml": TOML.replace("0.1", "0.01")})
    assert api.send("PUT", path, {"toml": TOML}, match=seen).status_code == 412
    assert api.send("PUT", path, {"toml": TOML}).status_code == 428


def test_retired_profile_is_offered_no_more(api: ApiClient, session: Session) -> None:
    path = f"meter-profiles/{api.done('POST', 'meter-profiles', upload())['id']}"
    assert list(find_offered(session, [1], ["acme-one"])) == ["acme-one"]
    api.done("DELETE", path)
    session.expire_all()
    assert find_offered(session, [1], ["acme-one"]) == {}
    assert found(api, "text=acme") == []
    assert found(api, "text=acme&retired=true") == ["acme-one"]
    status, detail = api.refused("PUT", path, {"toml": TOML})
    assert (status, "is retired" in detail) == (409, True)


def test_nearest_organisation_s_profile_goes_before_those_above(api: ApiClient, session: Session) -> None:
    below = Organisation(slug="below", name="Below", parent_id=1)
    session.add(below)
    session.commit()
    api.done("POST", "meter-profiles", upload())
    api.done("POST", "meter-profiles", upload(TOML.replace("0.1", "0.5"), organisation="below"))
    scales = {
        name: find_offered(session, lineage, ["acme-one"])["acme-one"].body["points"][0]["scale"]
        for name, lineage in {"above": [1], "below": [1, below.id]}.items()
    }
    assert scales == {"above": "0.1", "below": "0.5"}


REFUSED = {
    "taken by the library": (upload(TOML.replace("acme-one", "eastron-sdm120")), 409, "comes with the program"),
    "no TOML": (upload("id = "), 422, "is not TOML"),
    "unknown quantity": (upload(TOML.replace('"voltage"\nscale', '"volts"\nscale')), 422, "point 'voltage'.*volts"),
    "neither": ({"organisation": "main"}, 422, "either 'profile' or 'toml'"),
    "unknown organisation": (upload(organisation="nobody"), 404, "no organisation 'nobody'"),
    "unknown key": (upload(colour="red"), 422, "colour"),
}


@pytest.mark.parametrize(("body", "status", "reason"), REFUSED.values(), ids=REFUSED)
def test_upload_that_makes_no_profile_is_refused_in_one_sentence(
    api: ApiClient, body: dict[str, Any], status: int, reason: str
) -> None:
    said, detail = api.refused("POST", "meter-profiles", body)
    assert said == status
    assert re.search(reason, detail), detail


def test_id_of_a_profile_is_used_once_and_never_changed(api: ApiClient) -> None:
    path = f"meter-profiles/{api.done('POST', 'meter-profiles', upload())['id']}"
    assert api.refused("POST", "meter-profiles", upload())[0] == 409
    status, detail = api.refused("PUT", path, {"toml": TOML.replace("acme-one", "acme-two")})
    assert (status, "'acme-two' here and 'acme-one' there" in detail) == (422, True)
