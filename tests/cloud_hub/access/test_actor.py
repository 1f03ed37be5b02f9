"""What roles permit, and what an actor with grants sees and may do. Pure.

The tree: 1 is the operator; 2 and 3 are below it, 4 and 5 below 2. Site 40 is of 4, site 50 of 5.
"""

from itertools import pairwise

import pytest

from cloud_hub.access.actor import Actor, Grant, Subject
from cloud_hub.access.permissions import PERMISSIONS_OF, Permission, Role
from cloud_hub.tenancy.scope import Scope

LINEAGES = {1: (1,), 2: (1, 2), 3: (1, 3), 4: (1, 2, 4), 5: (1, 2, 5)}
OF = {number: Subject(number, lineage) for number, lineage in LINEAGES.items()}
SITE_40, SITE_41, SITE_50 = Subject(4, (1, 2, 4), 40), Subject(4, (1, 2, 4), 41), Subject(5, (1, 2, 5), 50)
TARIFF_OF = {number: Subject(number, lineage, is_catalogue=True) for number, lineage in LINEAGES.items()}
ALL = frozenset(Permission)


def _actor(*grants: Grant) -> Actor:
    return Actor(7, "kim@example.org", grants)


def _whole(organisation: int, permissions: frozenset[Permission] = ALL) -> Grant:
    return Grant(organisation, LINEAGES[organisation], permissions)


def _of_site_40(organisation: int, permissions: frozenset[Permission] = ALL) -> Grant:
    """Limited to that site: of organisation 4 whichever organisation one belongs to."""
    return Grant(organisation, LINEAGES[organisation], permissions, frozenset({40}), frozenset({LINEAGES[4]}))


def test_roles_hold_each_other_from_the_viewer_up_to_the_admin() -> None:
    ladder = [Role.VIEWER, Role.TECHNICIAN, Role.MANAGER, Role.ADMIN]
    for lower, higher in pairwise(ladder):
        assert PERMISSIONS_OF[lower] < PERMISSIONS_OF[higher], (lower, higher)
    assert PERMISSIONS_OF[Role.INSTALLER] < PERMISSIONS_OF[Role.TECHNICIAN]
    assert PERMISSIONS_OF[Role.ADMIN] == ALL
    assert set(PERMISSIONS_OF) == set(Role) - {Role.CUSTOM}


def test_a_viewer_changes_nothing() -> None:
    words = {permission.partition(".")[2] for permission in PERMISSIONS_OF[Role.VIEWER] - {Permission.EXPORT}}
    assert words == {"read"}


def test_only_an_admin_changes_what_an_organisation_is_and_what_roles_permit() -> None:
    kept = {Permission.ORGANISATIONS_WRITE, Permission.ROLES_WRITE}
    assert kept == ALL - PERMISSIONS_OF[Role.MANAGER]


def test_technicians_and_installers_have_no_say_in_people_and_see_no_trail() -> None:
    people = {one for one in ALL if one.startswith(("organisations.", "people.", "roles.", "services.", "audit."))}
    for role in (Role.TECHNICIAN, Role.INSTALLER, Role.VIEWER):
        assert not PERMISSIONS_OF[role] & people, role


def test_an_installer_fits_meters_and_neither_publishes_nor_sees_money() -> None:
    held = PERMISSIONS_OF[Role.INSTALLER]
    assert {Permission.METERS_WRITE, Permission.CONFIGURATION_WRITE, Permission.COMMANDS_SEND} <= held
    beyond = {Permission.SITES_WRITE, Permission.CONFIGURATION_PUBLISH, Permission.TARIFFS_READ, Permission.ENERGY_READ}
    assert not held & beyond


@pytest.mark.parametrize(("organisation", "reached"), [(1, {1, 2, 3, 4, 5}), (2, {2, 4, 5}), (3, {3}), (4, {4})])
def test_a_membership_reaches_its_organisation_and_those_below_it(organisation: int, reached: set[int]) -> None:
    actor = _actor(_whole(organisation))
    assert {number for number, subject in OF.items() if actor.sees(subject)} == reached
    assert {number for number, subject in OF.items() if actor.may(Permission.SITES_WRITE, subject)} == reached
    assert {number for number, subject in OF.items() if actor.permissions_in(subject)} == reached


@pytest.mark.parametrize("organisation", [4, 2, 1])
def test_whoever_is_limited_to_a_site_reaches_that_alone(organisation: int) -> None:
    actor = _actor(_of_site_40(organisation))
    assert actor.sees(SITE_40)
    assert actor.may(Permission.METERS_WRITE, SITE_40)
    assert not [subject for subject in (*OF.values(), SITE_41, SITE_50) if actor.sees(subject)]
    assert actor.permissions_in(OF[4]) == frozenset()
    assert actor.permissions_in(SITE_40) == ALL


def test_a_site_elsewhere_is_not_reached_though_it_is_named() -> None:
    actor = _actor(Grant(3, LINEAGES[3], ALL, frozenset({40})))
    assert not actor.sees(SITE_40)


@pytest.mark.parametrize(
    ("grant", "read", "written"),
    [
        (_whole(4), {1, 2, 4}, {4}),
        (_whole(2), {1, 2, 4, 5}, {2, 4, 5}),
        (_of_site_40(4), {1, 2, 4}, set()),
        (_of_site_40(2), {1, 2, 4}, set()),
        (_of_site_40(1), {1, 2, 4}, set()),
    ],
    ids=["customer", "reseller", "site of the customer", "the same by the reseller", "the same by the operator"],
)
def test_catalogues_of_those_above_are_read_and_not_written(grant: Grant, read: set[int], written: set[int]) -> None:
    actor = _actor(grant)
    assert {number for number, tariff in TARIFF_OF.items() if actor.sees(tariff)} == read
    assert {number for number, tariff in TARIFF_OF.items() if actor.may(Permission.TARIFFS_READ, tariff)} == read
    assert {number for number, tariff in TARIFF_OF.items() if actor.may(Permission.TARIFFS_WRITE, tariff)} == written
    assert {number for number, tariff in TARIFF_OF.items() if actor.permissions_in(tariff)} == written


def test_a_catalogue_is_read_only_where_reading_it_is_permitted() -> None:
    actor = _actor(_whole(4, frozenset({Permission.SITES_READ})))
    assert actor.sees(TARIFF_OF[2])
    assert not actor.may(Permission.TARIFFS_READ, TARIFF_OF[2])


def test_memberships_add_up_and_do_not_mix() -> None:
    actor = _actor(_whole(4, frozenset({Permission.SITES_READ})), _whole(3, frozenset({Permission.AUDIT_READ})))
    assert actor.may(Permission.SITES_READ)
    assert actor.may(Permission.AUDIT_READ)
    assert not actor.may(Permission.EXPORT)
    assert actor.sees(OF[4])
    assert not actor.may(Permission.AUDIT_READ, OF[4])
    assert not actor.may(Permission.SITES_READ, OF[3])
    assert actor.permissions_in(OF[3]) == {Permission.AUDIT_READ}


def test_nobody_without_a_membership_sees_anything() -> None:
    actor = _actor()
    assert not [subject for subject in (*OF.values(), *TARIFF_OF.values(), SITE_40) if actor.sees(subject)]
    assert not actor.may(Permission.SITES_READ)
    assert actor.scope() == Scope(user_id=7)


def test_a_token_permits_its_words_at_most() -> None:
    held = frozenset({Permission.SITES_READ, Permission.EXPORT})
    actor = _actor(_whole(2, held), _of_site_40(1, held))
    limited = actor.limited_to(frozenset({Permission.SITES_READ, Permission.AUDIT_READ}))
    assert [grant.permissions for grant in limited.grants] == [{Permission.SITES_READ}] * 2
    assert limited.scope() == actor.scope()
    assert limited.sees(OF[4])
    assert not limited.may(Permission.EXPORT)
    assert not limited.may(Permission.AUDIT_READ)
    assert actor.may(Permission.EXPORT)


def test_a_scope_holds_what_is_reached_and_what_is_offered_from_above() -> None:
    assert _actor(_whole(4)).scope() == Scope(
        organisations=frozenset({4}), members_of=frozenset({4}), ancestors=frozenset({1, 2}), user_id=7
    )


@pytest.mark.parametrize("organisation", [4, 2, 1])
def test_a_scope_of_a_site_holds_the_organisation_whose_it_is(organisation: int) -> None:
    assert _actor(_of_site_40(organisation)).scope() == Scope(
        sites=frozenset({40}), members_of=frozenset({organisation, 4}), ancestors=frozenset({1, 2, 4}), user_id=7
    )


def test_a_scope_for_a_permission_leaves_out_where_it_is_not_held() -> None:
    actor = _actor(_whole(4, frozenset({Permission.SITES_READ})), _whole(3, frozenset({Permission.AUDIT_READ})))
    assert actor.scope(Permission.AUDIT_READ) == Scope(
        organisations=frozenset({3}), members_of=frozenset({3}), ancestors=frozenset({1}), user_id=7
    )
