"""The matrix: every route, every role, and things of another organisation in path, query and body. Nothing leaks.

It is made from the route map: a route that is added is in it. Two walls stand one behind the other, and
each is tested with the other taken away.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from example_requests import make_example, places_of
from flask import g
from tenant_world import World, fill_both
from tenants import Tenant

from cloud_hub.access import routes as guarded_routes
from cloud_hub.access.guard import PUBLIC, SELF
from cloud_hub.access.permissions import PERMISSIONS_OF, Role
from cloud_hub.access.subjects import names_in
from cloud_hub.app import create_app
from cloud_hub.db import create_engine
from cloud_hub.tenancy import criteria
from cloud_hub.tenancy.roles import Role as DatabaseRole
from cloud_hub.web.operations import operations_of

ROLES = [*PERMISSIONS_OF, Role.CUSTOM]

_described = create_app(b"k" * 32, create_engine("postgresql://nobody@127.0.0.1:1/none"))
OPERATIONS = operations_of(_described)
GUARDED = [name for name, operation in OPERATIONS.items() if operation.permission not in {PUBLIC, SELF}]
LOOK_THEMSELVES = {
    "account.end_session",
    "account_api.end_session",
    "catalogue_api.get_profile_version",
    "tokens.revoke",
    "tokens_api.delete_own_token",
}
"""Operations whose own queries leave foreign things out, guard or no guard."""
GIVE_PERMISSIONS_AWAY = {
    "invitations_api.revoke",
    "invitations_api.send_again",
    "organisations_api.change_organisation",
    "organisations_api.create_organisation",
    "roles_api.create_role",
    "tokens_api.create_service",
    "tokens_api.create_service_token",
}
"""Operations that ask once more, by themselves, whether one has what one gives."""
SERVED_ELSEWHERE = {"stream_api.open_stream"}
"""Routes that this process names and another serves: they answer 503 here."""
NAMING = [(name, place) for name, operation in OPERATIONS.items() for place in places_of(operation)]


@pytest.fixture(scope="module")
def tenants(module_database_url: str) -> tuple[Tenant, Tenant]:
    return fill_both(module_database_url)


@pytest.fixture(scope="module")
def world(module_database_url: str, tenants: tuple[Tenant, Tenant]) -> Iterator[World]:
    """The hub as it is deployed."""
    with World(module_database_url, *tenants, DatabaseRole.WEB) as world:
        yield world


@pytest.fixture(scope="module")
def world_without_row_security(module_database_url: str, tenants: tuple[Tenant, Tenant]) -> Iterator[World]:
    """The hub on a login that row-level security does not hold for."""
    with World(module_database_url, *tenants, None) as world:
        yield world


@pytest.fixture
def without_guards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what our own code checks: permissions, things that are named, criteria on queries."""
    monkeypatch.setattr(guarded_routes, "_judge", lambda *_: None)
    monkeypatch.setattr(guarded_routes, "require_actor", lambda _permission: g.actor)
    monkeypatch.setattr(criteria, "_options", lambda *_: ())


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", GUARDED)
def test_a_role_may_what_it_permits_and_nothing_else(name: str, role: Role, world: World) -> None:
    operation = OPERATIONS[name]
    example = make_example(operation, world.ann, world.ann)
    answer = world.ask(example, role)
    if operation.permission in PERMISSIONS_OF.get(role, ()):
        # A handler may refuse for reasons of its own, such as giving away more than one has.
        assert answer.status_code != 401, answer.text
        assert "it takes the permission" not in answer.text, answer.text
        assert answer.status_code < 500 or name in SERVED_ELSEWHERE, answer.text
    else:
        assert answer.status_code == 403, answer.text
    assert not world.leaks(example, answer)


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if operation.permission != PUBLIC])
def test_a_stranger_gets_nothing(name: str, world: World) -> None:
    example = make_example(OPERATIONS[name], world.ann, world.ann)
    answer = world.app.test_client().open(example.address, method=example.method, json=example.body)
    assert answer.status_code in {302, 303, 400, 401}, answer.text
    assert answer.status_code < 400 or "/login" in (answer.location or "/login")


@pytest.mark.parametrize("sent", [{}, {"If-Match": '"something else"'}], ids=["nothing", "another"])
@pytest.mark.parametrize(
    "name", [name for name, operation in OPERATIONS.items() if operation.is_versioned and operation.method != "GET"]
)
def test_nothing_is_changed_without_the_etag_of_what_it_is(name: str, sent: dict[str, str], world: World) -> None:
    example = replace(make_example(OPERATIONS[name], world.ann, world.ann), headers=sent)
    answer = world.ask(example)
    assert answer.status_code == (412 if sent else 428), answer.text


@pytest.mark.parametrize(("name", "place"), NAMING)
def test_things_of_another_organisation_do_not_exist(name: str, place: str, world: World) -> None:
    check_foreign(world, name, place)


@pytest.mark.parametrize(("name", "place"), NAMING)
def test_nor_do_they_without_row_security(name: str, place: str, world_without_row_security: World) -> None:
    check_foreign(world_without_row_security, name, place)


def check_foreign(world: World, name: str, place: str) -> None:
    example = make_example(OPERATIONS[name], world.ann, world.bob, place=place)
    answer = world.ask(example)
    # A form says on its own page that there is no such thing.
    assert answer.status_code == 404 or (OPERATIONS[name].is_page and answer.status_code == 422), answer.text
    assert not world.leaks(example, answer)


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if operation.method == "GET"])
def test_what_is_read_without_row_security_holds_nothing_foreign(name: str, world_without_row_security: World) -> None:
    world = world_without_row_security
    example = make_example(OPERATIONS[name], world.ann, world.ann)
    answer = world.ask(example)
    assert answer.status_code < 500 or name in SERVED_ELSEWHERE
    assert not world.leaks(example, answer)


@pytest.mark.parametrize(("name", "place"), NAMING)
@pytest.mark.usefixtures("without_guards")
def test_row_security_alone_keeps_foreign_things_away(name: str, place: str, world: World) -> None:
    example = make_example(OPERATIONS[name], world.ann, world.bob, place=place)
    answer = world.ask(example)
    assert not world.leaks(example, answer)


@pytest.mark.parametrize("name", GUARDED)
def test_a_route_without_its_permission_would_show_in_the_matrix(name: str, world: World) -> None:
    operation = OPERATIONS[name]
    known = operations_of(world.app)
    known[name] = replace(operation, permission=SELF)
    try:
        answer = world.ask(make_example(operation, world.ann, world.ann), Role.CUSTOM)
    finally:
        known[name] = operation
    asks_for_more = any(mark.permission for _, mark in [*names_in(operation.query), *names_in(operation.body)])
    assert answer.status_code != 403 or asks_for_more or name in GIVE_PERMISSIONS_AWAY


@pytest.mark.parametrize(("name", "place"), NAMING)
@pytest.mark.usefixtures("without_guards")
def test_a_name_without_its_guard_would_show_in_the_matrix(
    name: str, place: str, world_without_row_security: World
) -> None:
    world = world_without_row_security
    example = make_example(OPERATIONS[name], world.ann, world.bob, place=place)
    answer = world.ask(example)
    assert (answer.status_code, "there is no" in answer.text) != (404, True) or name in LOOK_THEMSELVES
