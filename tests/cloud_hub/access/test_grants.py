"""Memberships as grants: what they reach, above all those that are limited to sites further down the tree."""

import pytest
from flask import Flask
from people_factories import Browser, add_membership, add_organisation, add_person, add_site_of, add_tree
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from tenant_world import fill_both, fill_tenants
from tenants import rows_of

from cloud_hub.access.actor import Actor, Grant
from cloud_hub.access.grants import load_grants, permissions_of
from cloud_hub.access.permissions import PERMISSIONS_OF, Permission, Role
from cloud_hub.db import create_sessions
from cloud_hub.registry.models import Site
from cloud_hub.schema.tables import tenancies
from cloud_hub.tenancy.scope import LOGIN, enter, scope_of


@pytest.mark.parametrize("role", PERMISSIONS_OF)
def test_a_built_in_role_permits_what_is_documented_whatever_stands_beside_it(role: Role) -> None:
    assert permissions_of(role, None) == permissions_of(role, ["audit.read"]) == PERMISSIONS_OF[role]


def test_a_role_that_was_put_together_permits_its_words_and_no_unknown_ones() -> None:
    words = ["sites.read", "sites.fly", "audit.read"]
    assert permissions_of(Role.CUSTOM, words) == {Permission.SITES_READ, Permission.AUDIT_READ}
    assert permissions_of(Role.CUSTOM, None) == frozenset()


def test_memberships_are_loaded_with_their_lineages_and_sites(session: Session, web_engine: Engine) -> None:
    tree = add_tree(session)
    reseller, customer = tree.reseller.id, tree.customer.id
    sites = [add_site_of(session, one, "hut").id for one in (customer, tree.neighbour.id, reseller)]
    user = add_person(session, "kim@example.org", tree.other.id, Role.VIEWER)
    add_membership(session, user.id, reseller, Role.INSTALLER, sites=tuple(sites))
    add_membership(session, user.id, customer, Role.INSTALLER, sites=())
    session.commit()
    limited = Grant(
        reseller,
        (1, reseller),
        PERMISSIONS_OF[Role.INSTALLER],
        frozenset(sites),
        frozenset({(1, reseller, customer), (1, reseller, tree.neighbour.id), (1, reseller)}),
    )
    nothing = Grant(customer, (1, reseller, customer), PERMISSIONS_OF[Role.INSTALLER], frozenset())
    whole = Grant(tree.other.id, (1, tree.other.id), PERMISSIONS_OF[Role.VIEWER])
    with create_sessions(web_engine)() as web:
        enter(web, LOGIN)
        assert set(load_grants(web, user.id)) == {limited, nothing, whole}
        assert scope_of(web) == LOGIN
        assert web.execute(text("SELECT count(*) FROM sites")).scalar_one() == 0
    assert set(load_grants(session, user.id)) == {limited, nothing, whole}


def test_an_installer_is_limited_whatever_the_membership_says(session: Session) -> None:
    user = add_person(session, "fit@example.org", 1, Role.INSTALLER)
    assert load_grants(session, user.id) == (Grant(1, (1,), PERMISSIONS_OF[Role.INSTALLER], frozenset()),)


def test_a_site_that_has_left_the_tree_is_not_reached_any_more(app: Flask, session: Session) -> None:
    tree = add_tree(session)
    kept, moved = (add_site_of(session, tree.customer.id, slug) for slug in ("kept", "moved"))
    add_person(session, "fit@example.org", tree.reseller.id, Role.INSTALLER, sites=(kept.id, moved.id))
    session.commit()
    fitter = Browser(app, "fit@example.org")
    assert _slugs(fitter) == ["kept", "moved"]
    moved.organisation_id = tree.other.id
    session.commit()
    assert _slugs(fitter) == ["kept"]
    assert fitter.get("/sites/moved").status_code == 404


def test_whoever_is_limited_to_sites_further_down_sees_those_and_no_others(app: Flask, session: Session) -> None:
    tree = add_tree(session)
    for organisation in (tree.reseller, tree.customer, tree.neighbour, tree.other):
        add_site_of(session, organisation.id, "yard")
    hut = add_site_of(session, tree.customer.id, "hut")
    add_person(session, "fit@example.org", tree.reseller.id, Role.TECHNICIAN, sites=(hut.id,))
    session.commit()
    fitter = Browser(app, "fit@example.org")
    assert _slugs(fitter) == ["hut"]
    site = fitter.get("/sites/hut").get_json()
    assert site["organisation"] == "customer"
    assert fitter.edit("/sites/hut", {"name": "Fitted"}).get_json()["name"] == "Fitted"
    for name in ("reseller:yard", "customer:yard", "neighbour:yard", "other:yard", "yard"):
        assert fitter.get(f"/sites/{name}").status_code == 404, name
    for path in ("/organisations/customer", "/organisations/reseller/members", "/organisations"):
        assert fitter.get(path).status_code in (403, 404), path


def test_row_security_shows_them_their_sites_and_what_is_offered_there(
    database_url: str, session: Session, web_engine: Engine
) -> None:
    """All tables are filled for two organisations below the one that they belong to."""
    ann, _ = fill_both(database_url)
    session.add(Site(organisation_id=ann.organisation_id, slug="annexe", name="Annexe"))
    session.flush()
    above, beside = (add_person(session, f"{name}@example.org") for name in ("above", "beside"))
    add_membership(session, above.id, 1, Role.ADMIN, sites=(ann.site_id,))
    add_membership(session, beside.id, ann.organisation_id, Role.ADMIN, sites=(ann.site_id,))
    session.commit()
    own = {"users", "memberships", "membership_sites"}
    readable = {name for name, tenancy in tenancies().items() if tenancy.is_guarded and "SELECT" in tenancy.web} - own
    seen = {}
    for user in (above, beside):
        with create_sessions(web_engine)() as web:
            enter(web, LOGIN)
            actor = Actor(user.id, "", load_grants(web, user.id))
            enter(web, actor.scope())
            seen[user.id] = {
                name: set(web.execute(text(f"SELECT tableoid || '/' || ctid::text FROM {name}")).scalars())
                for name in readable
            }
    with session.bind.connect() as connection:  # type: ignore[union-attr]  # a session of a fixture is bound
        main = connection.execute(text("SELECT tableoid || '/' || ctid::text FROM organisations WHERE id = 1")).scalar()
        everything = rows_of(connection)
    # The same as for who belongs to the site's own organisation, and the name of the one above.
    seen[above.id]["organisations"].discard(str(main))
    assert seen[above.id] == seen[beside.id]
    assert seen[above.id]["organisations"]
    assert {len(seen[above.id][name]) for name in ("sites", "controllers", "meters", "points", "scans")} == {1}
    assert {len(seen[above.id][name]) for name in ("tariffs", "meter_profiles", "roles")} == {1}
    assert {len(everything[name]) for name in ("meters", "tariffs", "roles")} == {2}


@pytest.mark.parametrize(
    ("path", "table"),
    [
        ("/meter-profiles/{}", "meter_profiles"),
        ("/tariffs/{}", "tariffs"),
        ("/organisations/below/roles/{}", "roles"),
    ],
)
def test_what_those_above_offer_is_found_by_its_number(
    path: str, table: str, database_url: str, app: Flask, session: Session
) -> None:
    (ann,) = fill_tenants(database_url, "ann")
    below = add_organisation(session, "below", ann.organisation_id)
    site = add_site_of(session, below.id, "hut")
    add_person(session, "below@example.org", below.id)
    add_person(session, "site@example.org", ann.organisation_id, Role.ADMIN, sites=(site.id,))
    add_person(session, "beside@example.org", add_organisation(session, "beside").id)
    session.commit()
    address = path.format(ann.keys[table])
    assert Browser(app, "below@example.org").get(address).status_code == 200
    assert Browser(app, "beside@example.org").get(address).status_code == 404
    # Roles are asked for by an organisation's name, in which somebody limited to sites has no say.
    of_a_site = Browser(app, "site@example.org").get(address).status_code
    assert of_a_site == (404 if table == "roles" else 200)


def _slugs(browser: Browser) -> list[str]:
    return sorted(one["slug"] for one in browser.get("/sites").get_json()["items"])
