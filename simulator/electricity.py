"""What a meter measures at one instant, and under which point names profiles offer it. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

_PAIRS = ((1, 2), (2, 3), (3, 1))
_SQRT3 = math.sqrt(3)


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase. Positive power and import energy flow from the grid into the site."""

    voltage_v: float
    power_w: float
    reactive_power_var: float
    energy_import_wh: float
    energy_export_wh: float
    reactive_energy_varh: float
    current_a: float | None = None
    """None: what follows from voltage and power."""

    @property
    def apparent_power_va(self) -> float:
        """The apparent power: of voltage and current where the current is known, else of the two powers."""
        if self.current_a is not None:
            return self.voltage_v * self.current_a
        return math.hypot(self.power_w, self.reactive_power_var)

    @property
    def current(self) -> float:
        """The current in A."""
        return self.apparent_power_va / self.voltage_v if self.current_a is None else self.current_a


Values = Mapping[str, float]


def point_values(phases: tuple[Phase, ...], frequency_hz: float | None) -> dict[str, float]:
    """Name every value by the vocabulary of the profiles, in the units of `protocol.quantities`.

    `phases` holds one to three phases, L1 first. What a phase that is not there would show is left out,
    and so is the frequency when it is not known.
    """
    each = chain.from_iterable(_phase_values(f"l{number}", phase).items() for number, phase in enumerate(phases, 1))
    values = dict(each) | _totals(phases) | _voltages(phases)
    if frequency_hz is not None:
        values["frequency"] = frequency_hz
    return values


def _phase_values(name: str, phase: Phase) -> dict[str, float]:
    return {
        f"voltage_{name}_n": phase.voltage_v,
        f"current_{name}": phase.current,
        f"active_power_{name}": phase.power_w,
        f"reactive_power_{name}": phase.reactive_power_var,
        f"apparent_power_{name}": phase.apparent_power_va,
        f"power_factor_{name}": _ratio(phase.power_w, phase.apparent_power_va),
        f"energy_active_import_{name}": phase.energy_import_wh,
        f"energy_active_export_{name}": phase.energy_export_wh,
    }


def _totals(phases: tuple[Phase, ...]) -> dict[str, float]:
    power_w = sum(phase.power_w for phase in phases)
    apparent_va = sum(phase.apparent_power_va for phase in phases)
    imported_wh = sum(phase.energy_import_wh for phase in phases)
    exported_wh = sum(phase.energy_export_wh for phase in phases)
    reactive_varh = sum(phase.reactive_energy_varh for phase in phases)
    return {
        "active_power_total": power_w,
        "reactive_power_total": sum(phase.reactive_power_var for phase in phases),
        "apparent_power_total": apparent_va,
        "power_factor_total": _ratio(power_w, apparent_va),
        "energy_active_import_total": imported_wh,
        "energy_active_export_total": exported_wh,
        "energy_active_net_total": imported_wh - exported_wh,
        "energy_active_sum_total": imported_wh + exported_wh,
        "energy_active_total": imported_wh + exported_wh,
        "energy_reactive_import_total": reactive_varh,
        "energy_reactive_export_total": 0.0,
        "energy_reactive_total": reactive_varh,
    }


def _voltages(phases: tuple[Phase, ...]) -> dict[str, float]:
    average_v = sum(phase.voltage_v for phase in phases) / len(phases)
    values = {
        "voltage_ln_avg": average_v,
        "current_avg": sum(phase.current for phase in phases) / len(phases),
        "current_total": sum(phase.current for phase in phases),
    }
    if len(phases) == len(_PAIRS):
        for one, other in _PAIRS:
            values[f"voltage_l{one}_l{other}"] = _SQRT3 * (phases[one - 1].voltage_v + phases[other - 1].voltage_v) / 2
        values["voltage_ll_avg"] = _SQRT3 * average_v
    return values


def _ratio(power_w: float, apparent_va: float) -> float:
    return power_w / apparent_va if apparent_va else 1.0


_ANY_PHASE = Phase(230.0, 0.0, 0.0, 0.0, 0.0, 0.0)
OFFERED_POINTS = frozenset(point_values((_ANY_PHASE,) * 3, frequency_hz=50.0))
"""All names that a source offers for a meter with three phases."""
