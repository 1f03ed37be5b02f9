"""Sites over HTTP: registered, edited under their ETag, found again, handed over, retired."""

from datetime import date
from typing import Any

import pytest
from api_client import ApiClient
from flask import Flask
from flask.testing import FlaskClient
from hub_factories import add_controller, add_meter, add_organisation, add_point, add_site
from ledger_rows import add_day
from registry_factories import add_member, api_as, deeds, edit, events, refused_edit, site_body
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.access.models import Membership, MembershipSite
from cloud_hub.access.permissions import Role
from cloud_hub.audit.models import AuditEvent
from cloud_hub.ledger.models import Dirty, LedgerDay
from cloud_hub.registry.models import Controller, Meter, MeterGroup, MeterGroupMember, MeterOwner

ADDRESS = {"street": "High Street 1", "postal_code": "87561", "city": "Oberstdorf", "region": "", "country": "DE"}
POSITION = {"latitude": 47.41, "longitude": 10.28}


@pytest.fixture
def api(client: FlaskClient) -> ApiClient:
    return ApiClient(client)


def slugs(page: Any) -> list[str]:
    return [site["slug"] for site in page["items"]]


def test_a_site_is_registered_with_all_that_is_known_of_it(api: ApiClient, session: Session) -> None:
    body = site_body(address=ADDRESS, position=POSITION, tags=["shop", "alps", "shop"])
    made = api.done("POST", "sites", body)
    assert made.pop("created_at").endswith("Z")
    assert made == {
        **body,
        "organisation": "main",
        "tags": ["alps", "shop"],
        "state": "planned",
    }
    again = api.get("sites/north")
    assert again.pop("created_at") is not None
    assert again == made
    assert deeds(session) == ["site_created"]
    assert [kind for kind, _ in events(session)] == ["site.created"]
    [born] = api.get("sites/north/life-cycle")["items"]
    assert (born["before"], born["after"], born["recorded_by"]) == (None, "planned", "ann@example.org")


def test_a_slug_is_unique_within_its_organisation_only(api: ApiClient, session: Session) -> None:
    add_organisation(session, "alps")
    session.commit()
    api.done("POST", "sites", site_body())
    assert api.refused("POST", "sites", site_body()) == (
        409,
        "slug: organisation 'main' has a site 'north' already: choose another slug, or edit that site",
    )
    api.done("POST", "sites", site_body(organisation="alps", name="Alpine hut"))
    status, reason = api.refused("GET", "sites/north")
    assert status == 409
    assert "name it with its organisation" in reason
    assert api.get("sites/alps:north")["name"] == "Alpine hut"
    assert api.get("sites/main:north")["name"] == "North hut"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"time_zone": "Europe/Nowhere"}, "time_zone: 'Europe/Nowhere' is no time zone"),
        ({"slug": "North Hut"}, "slug: 'North Hut' is not a valid id"),
        ({"name": "  "}, "name: "),
        ({"name": "a\nb"}, "name: "),
        ({"position": {"latitude": 91, "longitude": 0}}, "position: latitude: "),
        ({"position": {"latitude": 47}}, "position: longitude: is missing"),
        ({"address": {"country": "Germany"}}, "address: country: "),
        ({"tags": ["two words"]}, "tags: 0: "),
        ({"state": "retired"}, "state: "),
        ({"colour": "red"}, "colour: is not a key that belongs here"),
        ({"organisation": "nobody"}, "there is no organisation 'nobody'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_site_that_cannot_be_is_refused_by_its_key(api: ApiClient, change: dict[str, Any], reason: str) -> None:
    status, said = api.refused("POST", "sites", site_body(**change))
    assert status in {404, 422}
    assert reason in said


def test_an_edit_names_what_it_changes_and_nothing_else(api: ApiClient, session: Session) -> None:
    api.done("POST", "sites", site_body(address=ADDRESS, position=POSITION, tags=["alps"]))
    changed = edit(api, "sites/north", {"name": "Nordhütte", "position": None, "tags": []})
    assert (changed["name"], changed["position"], changed["tags"]) == ("Nordhütte", None, [])
    assert (changed["address"], changed["time_zone"]) == (ADDRESS, "Europe/Berlin")
    session.rollback()
    detail = session.scalars(select(AuditEvent.detail).where(AuditEvent.action == "site_changed")).one()
    assert detail == {
        "before": {"name": "North hut", "position": POSITION, "tags": ["alps"]},
        "after": {"name": "Nordhütte", "position": None, "tags": []},
    }


def test_an_edit_that_changes_nothing_leaves_no_trace(api: ApiClient, session: Session) -> None:
    api.done("POST", "sites", site_body())
    edit(api, "sites/north", {"name": "North hut"})
    assert deeds(session) == ["site_created"]


def test_an_edit_of_what_somebody_else_changed_meanwhile_is_refused(api: ApiClient) -> None:
    api.done("POST", "sites", site_body())
    seen = api.etag("sites/north")
    edit(api, "sites/north", {"name": "First"})
    assert api.send("PATCH", "sites/north", {"name": "Second"}, match=seen).status_code == 412
    assert api.send("PATCH", "sites/north", {"name": "Second"}).status_code == 428
    assert api.get("sites/north")["name"] == "First"


def test_an_edit_says_what_it_cannot_empty(api: ApiClient) -> None:
    api.done("POST", "sites", site_body())
    assert "name is null" in refused_edit(api, "sites/north", {"name": None})[1]
    assert "nothing is to change" in refused_edit(api, "sites/north", {})[1]


def test_sites_are_found_by_organisation_tag_text_and_state(api: ApiClient, session: Session) -> None:
    alps = add_organisation(session, "alps")
    add_organisation(session, "peak", parent_id=alps.id)
    session.commit()
    api.done("POST", "sites", site_body("a", tags=["shop", "old"], address=ADDRESS))
    api.done("POST", "sites", site_body("b", tags=["shop"], name="100% wind"))
    api.done("POST", "sites", site_body("c", organisation="alps", state="in_service"))
    api.done("POST", "sites", site_body("d", organisation="peak"))
    assert slugs(api.get("sites")) == ["a", "b", "c", "d"]
    assert slugs(api.get("sites?organisation=alps")) == ["c", "d"]
    assert slugs(api.get("sites?tag=shop")) == ["a", "b"]
    assert slugs(api.get("sites?tag=shop&tag=old")) == ["a"]
    assert slugs(api.get("sites?text=oberSTdorf")) == ["a"]
    assert slugs(api.get("sites?text=0%25")) == ["b"]
    assert slugs(api.get("sites?text=_")) == []
    assert slugs(api.get("sites?state=in_service")) == ["c"]
    assert api.refused("GET", "sites?state=lost")[0] == 422


def test_a_list_goes_on_after_sites_of_the_same_slug(api: ApiClient, session: Session) -> None:
    for slug in ("alps", "baltic", "coast"):
        add_site(session, "north", organisation_id=add_organisation(session, slug).id)
    session.commit()
    found, cursor = [], ""
    while True:
        page = api.get(f"sites?limit=1{cursor}")
        found += [site["organisation"] for site in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == ["alps", "baltic", "coast"]
    assert api.refused("GET", "sites?cursor=bm9ydGg") == (
        422,
        "cursor is not one that this list gave out: begin without it",
    )


def test_another_zone_lays_the_ledger_out_anew(api: ApiClient, session: Session) -> None:
    site = add_site(session)
    meter = add_meter(session, add_controller(session, site))
    add_day(session, add_point(session, meter, kind="counter"), site, date(2026, 3, 2), 1_000_000)
    session.commit()
    edit(api, "sites/north", {"name": "Same days"})
    assert session.scalars(select(LedgerDay.point_id)).all() != []
    session.rollback()
    edit(api, "sites/north", {"time_zone": "Asia/Kathmandu"})
    assert session.scalars(select(LedgerDay.point_id)).all() == []
    assert session.scalars(select(Dirty.meter_id)).all() == [meter.id]


def test_a_site_that_is_handed_over_takes_all_that_is_there_along(api: ApiClient, session: Session) -> None:
    before, after = add_organisation(session, "before"), add_organisation(session, "after")
    site = add_site(session, organisation_id=before.id)
    meter = add_meter(session, add_controller(session, site))
    add_day(session, add_point(session, meter, kind="counter"), site, date(2026, 3, 2), 1_000_000)
    add_member(session, before, "tim@example.org", Role.INSTALLER, sites=[site])
    owner = add_member(session, before, "olga@example.org", Role.VIEWER)
    group = MeterGroup(organisation_id=before.id, slug="all", name="All")
    session.add_all([group, MeterOwner(meter_id=meter.id, user_id=owner.id)])
    session.flush()
    session.add(MeterGroupMember(group_id=group.id, meter_id=meter.id))
    session.commit()
    moved = api.done("POST", "sites/north/move", {"organisation": "after", "why": "sold"})
    assert moved["organisation"] == "after"
    session.expire_all()
    assert session.scalars(select(Meter.organisation_id)).all() == [after.id]
    assert session.scalars(select(Controller.organisation_id)).all() == [after.id]
    for table in (MeterGroupMember, MeterOwner, MembershipSite, LedgerDay):
        assert session.scalars(select(table)).all() == []
    told = session.scalars(select(AuditEvent.organisation_id).where(AuditEvent.action == "site_moved"))
    assert sorted(told) == [before.id, after.id]


def test_a_site_is_not_handed_over_where_its_slug_is_taken(api: ApiClient, session: Session) -> None:
    add_site(session)
    add_site(session, organisation_id=add_organisation(session, "alps").id)
    session.commit()
    status, reason = api.refused("POST", "sites/main:north/move", {"organisation": "alps"})
    assert (status, "'alps' has a site 'north' already" in reason) == (409, True)


def test_a_site_goes_nowhere_where_one_may_not_put_it(app: Flask, session: Session) -> None:
    mine, theirs = add_organisation(session, "mine"), add_organisation(session, "theirs")
    add_site(session, organisation_id=mine.id)
    add_member(session, mine, "mia@example.org", Role.MANAGER)
    session.commit()
    api = api_as(app, "mia@example.org")
    assert api.refused("POST", "sites/north/move", {"organisation": theirs.slug}) == (
        404,
        "there is no organisation 'theirs'",
    )
    assert api.refused("POST", "sites", site_body("new", organisation="theirs"))[0] == 404
    assert api.done("POST", "sites", site_body("new"))["organisation"] == "mine"


def test_who_may_register_sites_in_several_organisations_says_in_which(app: Flask, session: Session) -> None:
    mine, other = add_organisation(session, "mine"), add_organisation(session, "other")
    user = add_member(session, mine, "mia@example.org", Role.MANAGER)
    session.add(Membership(user_id=user.id, organisation_id=other.id, role=Role.ADMIN.value))
    session.commit()
    api = api_as(app, "mia@example.org")
    status, reason = api.refused("POST", "sites", site_body())
    assert (status, "organisation is missing" in reason) == (422, True)
    assert api.done("POST", "sites", site_body(organisation="other"))["organisation"] == "other"


def test_who_is_limited_to_sites_adds_none(app: Flask, session: Session) -> None:
    mine = add_organisation(session, "mine")
    site = add_site(session, organisation_id=mine.id)
    add_member(session, mine, "tim@example.org", Role.TECHNICIAN, sites=[site])
    session.commit()
    api = api_as(app, "tim@example.org")
    assert slugs(api.get("sites")) == ["north"]
    assert edit(api, "sites/north", {"name": "Tim's"})["name"] == "Tim's"
    status, reason = api.refused("POST", "sites", site_body("new"))
    assert (status, "it takes the permission sites.write" in reason) == (403, True)


def test_a_site_is_retired_after_all_that_belongs_to_it(api: ApiClient, session: Session) -> None:
    site = add_site(session)
    meter = add_meter(session, add_controller(session, site))
    session.commit()
    body = {"to": "retired", "why": "sold"}
    status, reason = api.refused("POST", "sites/north/life-cycle", body)
    assert status == 409
    assert f"(meter {meter.id} (heater), controller north-1): retire that first" in reason
    assert api.done("POST", "sites/north/life-cycle", {**body, "with_parts": True})["state"] == "retired"
    assert [kind for kind, _ in events(session)] == ["meter.retired", "controller.retired", "site.retired"]
    assert api.refused("POST", "sites/north/life-cycle", {"to": "in_service"}) == (
        409,
        "the site is retired and cannot become in service: nothing follows; register another one",
    )
    assert api.refused("POST", "controllers", {"id": "new", "site": "north"})[0] == 409


def test_pages_link_to_sites_of_the_same_slug_by_their_organisations(client: FlaskClient, session: Session) -> None:
    add_site(session)
    add_site(session, "south")
    add_site(session, organisation_id=add_organisation(session, "alps").id)
    session.commit()
    page = client.get("/").get_data(as_text=True)
    for ref in ("main:north", "alps:north", "south"):
        link = f"/sites/{ref}/energy"
        assert f'href="{link}"' in page
        assert client.get(link).status_code == 200
