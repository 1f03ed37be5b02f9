"""Take any one rule of the contract away, and the model finds a history in which a reading goes wrong."""

from itertools import count, islice

import pytest
from contract_model.faults import plan
from contract_model.rules import Rule
from contract_model.run import STEPS, run

SEEDS_MAX = 1500

_HISTORY_GOES_BACK = ("restored", "restored_from_any")
FOCUS: dict[Rule, tuple[str, ...]] = {
    Rule.IGNORE_OLD_INCARNATION: (*_HISTORY_GOES_BACK, "bad_line"),
    Rule.ACKS_NOT_RETAINED: (*_HISTORY_GOES_BACK, "hub_away", "database_down", "session_cut"),
    Rule.REWIND_IS_WRITTEN_DOWN: _HISTORY_GOES_BACK,
    Rule.RAISE_WHEN_AGENT_IS_AHEAD: ("restored_from_any", "agent_killed"),
    Rule.FORGOTTEN_LEAVES_GAP: _HISTORY_GOES_BACK,
    Rule.WAITING_KEEP_THEIR_NUMBERS: ("time_unknown", "card_copied", "older_copy_put_back", "card_cloned"),
    Rule.CLOSED_ANEW: ("reimaged", "bad_line"),
}
"""Faults that a rule is there for and that are rare in a plan drawn from all: they are drawn more often."""


@pytest.mark.parametrize("rule", list(Rule), ids=str)
def test_removing_a_rule_breaks_the_promise(rule: Rule) -> None:
    outcomes = (run(seed, removed={rule}, faults=plan(seed, STEPS, FOCUS.get(rule, ()))) for seed in count())
    assert any(outcome.violations for outcome in islice(outcomes, SEEDS_MAX)), (
        f"no violation in {SEEDS_MAX} histories without {rule}: the model lacks a fault, or the rule is not needed"
    )
