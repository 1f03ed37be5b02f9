"""What a token leaves of its holder's rights."""

import pytest

from cloud_hub.access.actor import Actor, Grant, Subject
from cloud_hub.access.permissions import Permission
from cloud_hub.tokens.limits import known_permissions, within

_READ = frozenset({Permission.SITES_READ})
# 1 is above 2 and 3, and 2 is above 4.
_OF_1 = Grant(1, (1,), _READ)
_OF_2 = Grant(2, (1, 2), _READ)
_OF_SITES_OF_1 = Grant(1, (1,), _READ, frozenset({7}))
_OF_SITES_OF_4 = Grant(4, (1, 2, 4), _READ, frozenset({7}))


def _sees(actor: Actor, *lineage: int, site_id: int | None = None) -> bool:
    return actor.may(Permission.SITES_READ, Subject(lineage[-1], lineage, site_id))


def test_a_limit_leaves_the_organisation_and_what_is_below_it() -> None:
    actor = within(Actor(1, "x", (_OF_1,)), 2, (1, 2))
    assert _sees(actor, 1, 2)
    assert _sees(actor, 1, 2, 4)
    assert not _sees(actor, 1)
    assert not _sees(actor, 1, 3)
    assert actor.scope().organisations == {2}


def test_a_limit_above_the_holder_gives_nothing_more() -> None:
    actor = Actor(1, "x", (_OF_2,))
    assert within(actor, 1, (1,)) == actor


def test_a_limit_elsewhere_leaves_nothing() -> None:
    assert within(Actor(1, "x", (_OF_2,)), 3, (1, 3)).grants == ()


@pytest.mark.parametrize(("grant", "is_left"), [(_OF_SITES_OF_4, True), (_OF_SITES_OF_1, False)])
def test_single_sites_stay_single_sites(grant: Grant, is_left: bool) -> None:  # noqa: FBT001 - a row of a table
    actor = within(Actor(1, "x", (grant,)), 2, (1, 2))
    assert actor.grants == ((grant,) if is_left else ())


def test_words_of_another_release_permit_nothing() -> None:
    assert known_permissions(["sites.read", "sites.fly"]) == {Permission.SITES_READ}
