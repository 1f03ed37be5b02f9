"""Thousands of seeded histories full of faults: no scan may end silent, doubled or altered.

A failing seed is printed with the shortest plan of faults that still fails. Run it again alone with
`METERHAUL_CONTRACT_SEED=<seed>`; `METERHAUL_CONTRACT_RUNS` sets how many histories are tried.
"""

import os

import pytest
from contract_model.faults import FAULTS, plan
from contract_model.run import STEPS, run, shrink
from contract_model.verdict import BAD, Fate

from protocol.scans import GapReason

RUNS = int(os.environ.get("METERHAUL_CONTRACT_RUNS", "3000"))
CHUNK = 250
ONE_SEED = os.environ.get("METERHAUL_CONTRACT_SEED")
CHUNKS = (
    [range(int(ONE_SEED), int(ONE_SEED) + 1)]
    if ONE_SEED
    else [range(first, min(first + CHUNK, RUNS)) for first in range(0, RUNS, CHUNK)]
)


@pytest.mark.parametrize("seeds", CHUNKS, ids=lambda seeds: f"seeds {seeds[0]} to {seeds[-1]}")
def test_every_scan_is_stored_once_or_accounted_for(seeds: range) -> None:
    for seed in seeds:
        outcome = run(seed)
        assert not outcome.violations, (
            f"{shrink(outcome)}\nrun it again: METERHAUL_CONTRACT_SEED={seed} pytest {__file__}"
        )


def test_every_fault_strikes_and_every_fate_occurs() -> None:
    """A model in which a fault never strikes proves nothing about it."""
    card_gone = ("reimaged", "reconfigured", "switched_off", "broker_wiped")
    outcomes = [run(seed) for seed in range(150)]
    outcomes += [run(seed, faults=plan(seed, STEPS, card_gone)) for seed in range(250)]
    assert {fault.name for outcome in outcomes for fault in outcome.faults} == set(FAULTS)
    assert {fate for outcome in outcomes for fate in outcome.fates} == set(Fate) - set(BAD)
    assert {reason for outcome in outcomes for reason in outcome.gap_reasons} == set(GapReason)


def test_a_run_is_repeated_exactly_by_its_seed() -> None:
    assert run(7) == run(7)


def test_without_faults_every_scan_that_was_stored_is_committed() -> None:
    for seed in range(20):
        fates = run(seed, faults=()).fates
        assert set(fates) <= {Fate.STORED, Fate.GAP}


def test_a_plan_is_drawn_by_its_seed_alone() -> None:
    assert plan(3, STEPS) == plan(3, STEPS) != plan(4, STEPS)
