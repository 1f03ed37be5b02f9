"""Which registers count for a meter, a group or a site, so that nothing counts twice. Pure.

A site's import is what its meters of the role grid count; where it has none, what the meters count that have no
other one above them. Generation and batteries stand apart. Each measure is counted by itself.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cloud_hub.analysis.model import Counted, Flow, Measure
from cloud_hub.energy.model import Direction
from cloud_hub.registry.models import MeterRole

_BESIDE = {MeterRole.PV, MeterRole.BATTERY}
_HEAT = "thermal_energy"
_VOLUME = "volume"
_FLOWS = {Direction.IMPORT: Flow.IMPORT, Direction.EXPORT: Flow.EXPORT, Direction.NET: Flow.NET}


@dataclass(frozen=True, slots=True)
class MeterFact:
    """What counting must know of a meter."""

    id: int
    site_id: int
    role: str
    parent_id: int | None


@dataclass(frozen=True, slots=True)
class RegisterFact:
    """A register that stands for its meter in its direction, and when."""

    meter_id: int
    point_id: int
    measure: Measure
    direction: Direction
    from_ms: int | None = None
    until_ms: int | None = None


def measures_of(registers: Iterable[RegisterFact]) -> tuple[Measure, ...]:
    """List what these registers measure, electricity first."""
    return tuple(sorted({register.measure for register in registers}))


def count_meter(meter_id: int, meters: Sequence[MeterFact], registers: Sequence[RegisterFact]) -> tuple[Counted, ...]:
    """Count one meter by its own registers, whatever its role; what is next below it counts as sub-meters."""
    tree = _Tree(meters, registers)
    below = [id_ for id_ in tree.metering if id_ != meter_id and meter_id in tree.ancestors(id_)]
    own = _in_directions(registers, [meter_id])
    return (*own, *_below(tree, [meter_id], below))


def count_group(
    members: Collection[int], meters: Sequence[MeterFact], registers: Sequence[RegisterFact]
) -> tuple[Counted, ...]:
    """Count the members of a group in one site; one below another member counts as its sub-meter."""
    tree = _Tree(meters, registers)
    chosen = [id_ for id_ in tree.metering if id_ in members]
    mains = tree.outermost([id_ for id_ in chosen if not tree.is_beside(id_)])
    subs = [id_ for id_ in chosen if id_ not in mains]
    parents = [id_ for id_ in mains if any(id_ in tree.ancestors(sub) for sub in subs)]
    return (*_in_directions(registers, mains), *_below(tree, parents, subs))


def count_site(meters: Sequence[MeterFact], registers: Sequence[RegisterFact]) -> tuple[Counted, ...]:
    """Count a whole site."""
    tree = _Tree(meters, registers)
    using = [id_ for id_ in tree.metering if not tree.is_beside(id_)]
    grid = [id_ for id_ in using if tree.facts[id_].role == MeterRole.GRID]
    mains = tree.outermost(grid or using)
    others = [id_ for id_ in tree.metering if id_ not in mains]
    # Behind a grid connection is all the rest of the site, whether or not somebody has said so.
    parents = mains if grid else [id_ for id_ in mains if any(id_ in tree.ancestors(other) for other in others)]
    return (*_in_directions(registers, mains), *_below(tree, parents, others))


def without_heat_volumes(registers: Sequence[RegisterFact]) -> list[RegisterFact]:
    """Leave out what flows through heat meters: that volume runs in a circle and is no use of water."""
    heat = {register.meter_id for register in registers if register.measure.quantity == _HEAT}
    return [
        register for register in registers if not (register.measure.quantity == _VOLUME and register.meter_id in heat)
    ]


class _Tree:
    """Which meter lies above which, among those that have a register of the measure."""

    def __init__(self, meters: Sequence[MeterFact], registers: Sequence[RegisterFact]) -> None:
        self.facts: Mapping[int, MeterFact] = {meter.id: meter for meter in meters}
        self.registers = registers
        having = {register.meter_id for register in registers}
        self.metering = [meter.id for meter in meters if meter.id in having]

    def is_beside(self, meter_id: int) -> bool:
        return self.facts[meter_id].role in _BESIDE

    def ancestors(self, meter_id: int) -> list[int]:
        found: list[int] = []
        parent = self.facts[meter_id].parent_id
        while parent is not None and parent not in found and parent in self.facts:  # somebody may have closed a ring
            found.append(parent)
            parent = self.facts[parent].parent_id
        return found

    def outermost(self, meter_ids: Collection[int]) -> list[int]:
        """Keep those above which there is no other one of them; of a ring, the one with the lowest id."""
        kept = []
        for id_ in meter_ids:
            above = [other for other in self.ancestors(id_) if other in meter_ids]
            if not above or (id_ in above and id_ == min(above)):
                kept.append(id_)
        return kept


def _below(tree: _Tree, parents: Sequence[int], others: Collection[int]) -> list[Counted]:
    """Count what stands below or beside the mains: generation, batteries, sub-meters."""
    counted = _beside(tree, [id_ for id_ in others if tree.is_beside(id_)])
    subs = tree.outermost([id_ for id_ in others if not tree.is_beside(id_)])
    importing = [register for register in tree.registers if register.direction == Direction.IMPORT]
    counted_subs = [_counted(Flow.SUBS, register) for register in importing if register.meter_id in subs]
    if counted_subs:
        counted += [_counted(Flow.PARENTS, register) for register in importing if register.meter_id in parents]
        counted += counted_subs
    return counted


def _beside(tree: _Tree, meter_ids: Collection[int]) -> list[Counted]:
    counted = []
    for id_ in meter_ids:
        own = [register for register in tree.registers if register.meter_id == id_]
        if tree.facts[id_].role == MeterRole.BATTERY:
            flows = {Direction.IMPORT: Flow.CHARGE, Direction.EXPORT: Flow.DISCHARGE}
            counted += [_counted(flows[each.direction], each) for each in own if each.direction in flows]
        else:
            # A meter made for use, built in at a PV plant, counts what is generated as import.
            out = [register for register in own if register.direction == Direction.EXPORT]
            counted += [_counted(Flow.GENERATION, each) for each in out or own]
    return counted


def _in_directions(registers: Iterable[RegisterFact], meter_ids: Collection[int]) -> list[Counted]:
    return [_counted(_FLOWS[each.direction], each) for each in registers if each.meter_id in meter_ids]


def _counted(flow: Flow, register: RegisterFact) -> Counted:
    return Counted(flow, register.meter_id, register.point_id, register.from_ms, register.until_ms)
