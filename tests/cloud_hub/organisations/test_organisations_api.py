"""The tree of organisations: who sees it, who changes it, and that it stays a tree."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from browsing import counted_queries
from flask import Flask
from people_factories import Browser, Tree, add_membership, add_organisation, add_person, add_site_of, add_tree
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from cloud_hub.access.permissions import Role
from cloud_hub.audit.models import AuditEvent
from cloud_hub.errors import Conflict
from cloud_hub.organisations.models import Organisation
from cloud_hub.organisations.tree import change_organisation, create_organisation, get_placed, lock_tree


@pytest.fixture
def tree(session: Session) -> Tree:
    """Organisations with an operator, and an admin of the reseller."""
    tree = add_tree(session)
    add_person(session, "op@example.org", 1)
    add_person(session, "reseller@example.org", tree.reseller.id)
    add_person(session, "customer@example.org", tree.customer.id)
    session.commit()
    return tree


def _slugs(browser: Browser, query: str = "") -> list[str]:
    return [one["slug"] for one in browser.get(f"/organisations{query}").get_json()["items"]]


def _lineage(session: Session, slug: str) -> list[int]:
    return session.scalars(select(Organisation.lineage).where(Organisation.slug == slug)).one()


@pytest.mark.usefixtures("tree")
def test_everybody_sees_their_own_part_of_the_tree(app: Flask) -> None:
    assert _slugs(Browser(app, "op@example.org")) == ["customer", "main", "neighbour", "other", "reseller"]
    reseller = Browser(app, "reseller@example.org")
    assert _slugs(reseller) == ["customer", "neighbour", "reseller"]
    assert _slugs(reseller, "?parent=reseller") == ["customer", "neighbour"]
    assert _slugs(reseller, "?limit=1") == ["customer"]
    assert reseller.get("/organisations?parent=other").status_code == 404
    assert reseller.get("/organisations/main").status_code == 404
    shown = Browser(app, "customer@example.org").get("/organisations/customer").get_json()
    assert (shown["kind"], shown["parent"], shown["depth"]) == ("customer", None, 2)


@pytest.mark.usefixtures("tree")
def test_the_list_is_read_in_as_many_queries_however_long_it_is(
    app: Flask, web_engine: Engine, session: Session
) -> None:
    browser = Browser(app, "op@example.org")
    browser.get("/organisations")
    with counted_queries(web_engine) as few:
        browser.get("/organisations")
    for number in range(30):
        add_organisation(session, f"more-{number}")
    session.commit()
    with counted_queries(web_engine) as many:
        assert len(_slugs(browser)) == 35
    assert len(many) == len(few) <= 9, many


@pytest.mark.usefixtures("tree")
def test_an_organisation_is_made_below_one_that_one_may_change(app: Flask, session: Session) -> None:
    browser = Browser(app, "reseller@example.org")
    body = {"slug": "branch", "name": "Branch & Söhne", "parent": "customer", "kind": "reseller"}
    made = browser.post("/organisations", body)
    assert made.status_code == 201, made.get_json()
    assert made.get_json().items() >= {"kind": "reseller", "parent": "customer", "depth": 3}.items()
    assert browser.post("/organisations", {**body, "parent": "other"}).status_code == 404
    taken = browser.post("/organisations", {**body, "slug": "other"})
    assert taken.status_code == 409
    assert taken.get_json()["detail"] == "the slug 'other' is taken on this hub: choose another"
    for slug in ("Branch", "a+b", "a/b", "#", "-a", "a" * 64, ""):
        assert browser.post("/organisations", {**body, "slug": slug}).status_code == 422, slug
    for name in ("", " lead", "two\nlines", "a\u2028b", "a\u0085b"):
        assert browser.post("/organisations", {**body, "slug": "fresh", "name": name}).status_code == 422, name
    events = session.scalars(select(AuditEvent).where(AuditEvent.action == "organisation_created")).all()
    assert [(event.who, event.detail["after"]["slug"]) for event in events] == [("reseller@example.org", "branch")]


@pytest.mark.usefixtures("tree")
def test_a_change_needs_what_one_has_seen_and_leaves_its_trace(app: Flask, session: Session) -> None:
    browser = Browser(app, "reseller@example.org")
    seen = browser.etag("/organisations/customer")
    assert browser.edit("/organisations/customer", {"name": "Better"}).get_json()["name"] == "Better"
    assert browser.edit("/organisations/customer", {"name": "Later"}, etag=seen).status_code == 412
    event = session.scalars(select(AuditEvent).where(AuditEvent.action == "organisation_changed")).one()
    assert (event.detail["before"]["name"], event.detail["after"]["name"]) == ("Customer", "Better")


@pytest.mark.usefixtures("tree")
def test_where_an_organisation_stands_is_for_those_above_it_to_say(app: Flask, session: Session) -> None:
    own = Browser(app, "customer@example.org")
    assert own.edit("/organisations/customer", {"name": "Ours"}).status_code == 200
    assert own.edit("/organisations/customer", {"kind": "reseller"}).status_code == 403
    assert own.delete("/organisations/customer").status_code == 403
    reseller = Browser(app, "reseller@example.org")
    assert reseller.edit("/organisations/customer", {"parent": "other"}).status_code == 404
    assert reseller.edit("/organisations/reseller", {"parent": "customer"}).status_code == 403
    operator = Browser(app, "op@example.org")
    assert operator.edit("/organisations/main", {"parent": "other"}).status_code == 409
    below_itself = operator.edit("/organisations/reseller", {"parent": "customer"})
    assert below_itself.status_code == 409
    assert below_itself.get_json()["detail"] == "'customer' is below 'reseller': an organisation cannot be below itself"
    moved = operator.edit("/organisations/reseller", {"parent": "other"})
    assert (moved.status_code, moved.get_json()["parent"], moved.get_json()["depth"]) == (200, "other", 2)
    assert _lineage(session, "customer") == [*_lineage(session, "reseller"), _lineage(session, "customer")[-1]]
    assert len(_lineage(session, "customer")) == 4


@pytest.mark.usefixtures("tree")
def test_who_may_change_an_organisation_but_not_the_one_above_cannot_take_it_away(app: Flask, session: Session) -> None:
    person = add_person(session, "both@example.org", _lineage(session, "customer")[-1])
    add_membership(session, person.id, _lineage(session, "other")[-1])
    session.commit()
    refused = Browser(app, "both@example.org").edit("/organisations/customer", {"parent": "other"})
    assert refused.status_code == 403, refused.get_json()
    assert "for those to say who may change the organisation above it" in refused.get_json()["detail"]


def test_two_moves_at_once_make_no_circle(engine: Engine, tree: Tree) -> None:
    """Each alone is fine; together they would put each below the other."""

    def move(slug: str, parent: str) -> str:
        with Session(engine) as session:
            lock_tree(session)
            try:
                change_organisation(session, get_placed(session, slug, lock=True), parent=parent, who="test")
                session.commit()
            except Conflict as error:
                return str(error)
        return "moved"

    for _ in range(5):
        with ThreadPoolExecutor(2) as pool:
            answers = sorted(pool.map(move, ("reseller", "other"), ("other", "reseller")))
        assert [answer == "moved" for answer in answers] == [False, True], answers
        with engine.begin() as connection:
            connection.execute(text("UPDATE organisations SET parent_id = 1 WHERE id = :id"), {"id": tree.reseller.id})
            connection.execute(text("UPDATE organisations SET parent_id = 1 WHERE id = :id"), {"id": tree.other.id})


def test_one_that_is_added_while_another_moves_knows_its_place(engine: Engine, tree: Tree) -> None:
    with Session(engine) as mover, ThreadPoolExecutor(1) as pool:
        lock_tree(mover)
        change_organisation(mover, get_placed(mover, "reseller", lock=True), parent="other", who="test")

        def add() -> list[int]:
            with Session(engine) as adder:
                made = create_organisation(
                    adder, slug="fresh", name="Fresh", parent="customer", kind="customer", who="test"
                )
                adder.commit()
                return made.organisation.lineage

        added = pool.submit(add)
        mover.commit()
        assert added.result(10)[:-1] == [1, tree.other.id, tree.reseller.id, tree.customer.id]


def test_only_what_is_empty_is_archived_and_then_nothing_is_added(app: Flask, session: Session, tree: Tree) -> None:
    site = add_site_of(session, tree.customer.id, "hut")
    session.commit()
    browser = Browser(app, "reseller@example.org")
    refused = browser.delete("/organisations/customer")
    assert refused.status_code == 409
    assert "still has 0 organisations and 1 sites" in refused.get_json()["detail"]
    session.delete(site)
    session.commit()
    archived = browser.delete("/organisations/customer")
    assert archived.status_code == 200
    assert archived.get_json()["archived_at"] is not None
    assert _slugs(browser) == ["neighbour", "reseller"]
    assert _slugs(browser, "?archived=true") == ["customer", "neighbour", "reseller"]
    body = {"slug": "late", "name": "Late", "parent": "customer"}
    assert browser.post("/organisations", body).status_code == 409
    assert browser.edit("/organisations/customer", {"name": "Again"}).status_code == 409
    assert Browser(app, "customer@example.org").get("/organisations").status_code == 403
    assert browser.post("/organisations", {**body, "slug": "customer", "parent": "reseller"}).status_code == 409
    assert Browser(app, "op@example.org").delete("/organisations/main").status_code == 403


def test_the_page_shows_the_tree_with_its_sites(app: Flask, session: Session, tree: Tree) -> None:
    add_site_of(session, tree.customer.id, "hut")
    add_person(session, "viewer@example.org", tree.customer.id, Role.VIEWER)
    session.commit()
    browser = Browser(app, "reseller@example.org")
    page = browser.client.get("/organisations").get_data(as_text=True)
    places = [page.index(f">{name}</a>") for name in ("Reseller", "Customer", "Neighbour")]
    assert places == sorted(places)
    assert "Other" not in page
    assert '<span class="number">1</span> site<' in page
    added = browser.send_form("/organisations", name="Fourth", slug="fourth", parent="customer", kind="customer")
    assert added.status_code == 303
    assert "Fourth" in browser.client.get("/organisations").get_data(as_text=True)
    assert browser.send_form("/organisations", name="X", slug="x", parent="other", kind="customer").status_code == 404
    assert browser.send_form("/organisations", name="X", slug="A b", parent="customer").status_code == 422
    assert Browser(app, "viewer@example.org").client.get("/organisations").status_code == 403
