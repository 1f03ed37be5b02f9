import random

import pytest

from edge_agent.domain.keepalive import FLOOR_S, Keepalive

SURVIVALS = 48


def live_with(keepalive: Keepalive, *, network_forgets_after_s: float, silences: int) -> list[int]:
    """Let silences as long as the keepalive pass on a network that forgets, and note what is in use."""
    used = []
    for _ in range(silences):
        idle_s = float(keepalive.in_use_s)
        used.append(keepalive.in_use_s)
        if idle_s > network_forgets_after_s:
            keepalive.died(idle_s)
        else:
            keepalive.survived(idle_s)
    return used


def test_it_begins_with_the_configured_one() -> None:
    assert Keepalive(1200, max_s=3600).in_use_s == 1200


def test_a_line_that_died_in_silence_halves_it() -> None:
    keepalive = Keepalive(1200, max_s=3600)
    assert keepalive.died(1200)
    assert keepalive.in_use_s == 600


def test_a_line_that_died_after_a_shorter_silence_teaches_more() -> None:
    keepalive = Keepalive(1200, max_s=3600)
    assert keepalive.died(400)
    assert keepalive.in_use_s == 300


def test_it_never_goes_below_a_minute_and_learns_nothing_from_shorter_silences() -> None:
    keepalive = Keepalive(1200, max_s=3600)
    assert not keepalive.died(FLOOR_S - 1)
    for _ in range(10):
        keepalive.died(70)
    assert keepalive.in_use_s == FLOOR_S


def test_long_stability_makes_it_longer_again_up_to_the_configured_one() -> None:
    keepalive = Keepalive(1200, max_s=3600)
    keepalive.died(1200)
    used = live_with(keepalive, network_forgets_after_s=10_000, silences=SURVIVALS * 6)
    assert used == sorted(used)
    assert keepalive.in_use_s == 1200
    assert keepalive.learnt_s == 0


def test_short_silences_prove_nothing() -> None:
    keepalive = Keepalive(1200, max_s=3600)
    keepalive.died(1200)
    assert not any(keepalive.survived(100) for _ in range(1000))
    assert keepalive.in_use_s == 600


def test_rare_batches_make_it_long_enough_to_need_no_sign_of_life() -> None:
    keepalive = Keepalive(1200, max_s=3600)
    keepalive.suit(1800)
    assert keepalive.in_use_s == 2160
    keepalive.suit(86_400)
    assert keepalive.in_use_s == 3600
    keepalive.suit(60)
    assert keepalive.in_use_s == 1200


def test_what_was_learnt_holds_whatever_the_batches_would_like() -> None:
    keepalive = Keepalive(1200, max_s=3600)
    keepalive.learnt_s = 300
    keepalive.suit(1800)
    assert keepalive.in_use_s == 300


@pytest.mark.parametrize("forgets_after_s", [70, 110, 250, 299, 600, 1000])
def test_on_a_network_that_forgets_deaths_become_rare(forgets_after_s: float) -> None:
    keepalive = Keepalive(1200, max_s=3600)
    used = live_with(keepalive, network_forgets_after_s=forgets_after_s, silences=3000)
    deaths = [number for number, used_s in enumerate(used) if used_s > forgets_after_s]
    assert len([number for number in deaths if number < 10]) <= 5
    assert len([number for number in deaths if number > 1500]) <= 4


def test_a_configured_keepalive_below_a_minute_is_kept() -> None:
    keepalive = Keepalive(5, max_s=3600)
    keepalive.died(5)
    assert keepalive.in_use_s == 5


def test_whatever_happens_it_stays_within_its_bounds() -> None:
    rng = random.Random(7)
    keepalive = Keepalive(1200, max_s=3600)
    for _ in range(5000):
        rng.choice([keepalive.died, keepalive.survived])(rng.uniform(0, 4000))
        keepalive.suit(rng.choice([0, 60, 1800]))
        assert FLOOR_S <= keepalive.in_use_s <= 3600
