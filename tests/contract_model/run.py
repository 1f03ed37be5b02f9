"""One seeded run from the first poll to the verdict, and the search for the shortest plan that still fails."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random

from contract_model.faults import FAULTS, Planned, plan
from contract_model.rules import Rule
from contract_model.verdict import Fate, classify
from contract_model.world import World

from protocol.scans import GapReason

STEPS = 400


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run."""

    seed: int
    faults: tuple[Planned, ...]
    violations: tuple[str, ...]
    fates: dict[Fate, int]
    gap_reasons: frozenset[GapReason]

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, {len(self.faults)} faults:"]
        lines += [f"  step {fault.step}: {fault.name} for {fault.lasts}" for fault in self.faults]
        return "\n".join([*lines, *(f"  VIOLATION {violation}" for violation in self.violations)])


def run(seed: int, *, removed: Collection[Rule] = (), faults: Sequence[Planned] | None = None) -> Outcome:
    """Run the world through its faults, let it come to rest, and judge it."""
    planned = plan(seed, STEPS) if faults is None else faults
    world = World(seed, removed)
    _live_through(world, planned)
    world.end_faults()
    fates: dict[Fate, int] = {}
    if not world.comes_to_rest():
        world.violations.append("it never comes to rest")
    else:
        world.cured = True
        if not world.comes_to_rest():
            world.violations.append("it never comes to rest after the release that cures what was quarantined")
        fates = classify(world)
    gap_reasons = frozenset(reason for reasons in world.database.gap_records.values() for reason in reasons)
    return Outcome(seed, tuple(planned), tuple(world.violations), fates, gap_reasons)


def _live_through(world: World, planned: Sequence[Planned]) -> None:
    beginning: defaultdict[int, list[Planned]] = defaultdict(list)
    for fault in planned:
        beginning[fault.step].append(fault)
    ending = defaultdict(list)
    for step in range(STEPS):
        for fault in beginning.get(step, ()):
            end = FAULTS[fault.name](world, Random(fault.seed))
            if end:
                ending[step + fault.lasts].append(end)
        for end in ending.pop(step, ()):
            end(world)
        world.step()


def shrink(outcome: Outcome, *, removed: Collection[Rule] = ()) -> Outcome:
    """Find the shortest beginning of the plan that still fails, then leave out every fault that need not be."""
    failing = outcome
    for length in range(len(outcome.faults)):
        shorter = run(outcome.seed, removed=removed, faults=outcome.faults[:length])
        if shorter.violations:
            failing = shorter
            break
    for fault in failing.faults:
        without = run(outcome.seed, removed=removed, faults=[kept for kept in failing.faults if kept != fault])
        if without.violations:
            failing = without
    return failing
