"""Replay recorded minutes as meters would have shown them: rows of real data, energy added up."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from itertools import accumulate

from simulator.electricity import Phase, point_values

ROW_MS = 60_000
_WH_PER_KW_MINUTE = 1_000 / 60
DIGITS = {
    "voltage": 2,
    "current": 2,
    "active_power": 0,
    "reactive_power": 0,
    "apparent_power": 0,
    "power_factor": 3,
    "active_energy": 0,
    "reactive_energy": 0,
}
"""As fine as the data is: it gives 0.01 V, 0.1 A, 1 W and Wh."""


class Circuit(StrEnum):
    """What the recorded house measured."""

    MAINS = "mains"
    KITCHEN = "kitchen"
    LAUNDRY = "laundry"
    WATER_HEATER = "water_heater"


_ENERGY_COLUMNS = {
    Circuit.KITCHEN: "sub1_wh",
    Circuit.LAUNDRY: "sub2_wh",
    Circuit.WATER_HEATER: "sub3_wh",
}


class Pace(StrEnum):
    """When the next row comes."""

    TIME = "time"
    """A row stands for a minute of (accelerated) time."""
    FRAME = "frame"
    """Each frame of a meter is that meter's next row."""


class AtEnd(StrEnum):
    """What comes after the last row."""

    LOOP = "loop"
    """The first row again; counters go on."""
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Row:
    """One minute of one circuit; energies are those of the minute."""

    voltage_v: float
    current_a: float
    power_w: float
    reactive_power_var: float
    energy_wh: float
    reactive_energy_varh: float


@cache
def load_rows(circuit: Circuit) -> tuple[Row, ...]:
    """Load the 2,203 minutes that come with the simulator; see the README beside the data for its licence."""
    data = files("simulator") / "data" / "uci_household_1min" / "data.csv"
    with data.open(encoding="utf-8") as lines:
        return tuple(_parse_row(row, circuit) for row in csv.DictReader(lines))


def _parse_row(row: Mapping[str, str], circuit: Circuit) -> Row:
    voltage_v = float(row["voltage_v"])
    if circuit is Circuit.MAINS:
        power_kw, reactive_kvar = float(row["active_power_kw"]), float(row["reactive_power_kvar"])
        return Row(
            voltage_v=voltage_v,
            current_a=float(row["current_a"]),
            power_w=power_kw * 1_000,
            reactive_power_var=reactive_kvar * 1_000,
            energy_wh=power_kw * _WH_PER_KW_MINUTE,
            reactive_energy_varh=reactive_kvar * _WH_PER_KW_MINUTE,
        )
    # Of the branch circuits only the energy was recorded: its mean power follows, reactive power does not.
    energy_wh = float(row[_ENERGY_COLUMNS[circuit]])
    power_w = energy_wh * 60
    return Row(voltage_v, power_w / voltage_v, power_w, 0.0, energy_wh, 0.0)


class ReplaySource:
    """The source of a meter that replays rows."""

    digits = DIGITS

    def __init__(
        self, rows: Sequence[Row], *, pace: Pace, at_end: AtEnd, started_ms: int = 0, speed: float = 1.0
    ) -> None:
        """Take the rows; `started_ms` (UTC) is when the first row comes, `speed` how fast minutes pass."""
        self._rows = rows
        self._pace = pace
        self._at_end = at_end
        self._started_ms = started_ms
        self._speed = speed
        self._energy_wh = tuple(accumulate((row.energy_wh for row in rows), initial=0.0))
        self._reactive_varh = tuple(accumulate((row.reactive_energy_varh for row in rows), initial=0.0))

    def values(self, serial: int, now_ms: int) -> Mapping[str, float] | None:
        """Return the row of this frame; counters show the energy to its end."""
        if self._pace is Pace.FRAME:
            index = max(serial - 1, 0)
        else:
            index = int(max(0.0, (now_ms - self._started_ms) * self._speed) // ROW_MS)
        rounds, index = divmod(index, len(self._rows))
        if rounds and self._at_end is AtEnd.STOP:
            return None
        row = self._rows[index]
        phase = Phase(
            voltage_v=row.voltage_v,
            power_w=row.power_w,
            reactive_power_var=row.reactive_power_var,
            energy_import_wh=rounds * self._energy_wh[-1] + self._energy_wh[index + 1],
            energy_export_wh=0.0,
            reactive_energy_varh=rounds * self._reactive_varh[-1] + self._reactive_varh[index + 1],
            current_a=row.current_a,
        )
        return point_values((phase,), frequency_hz=None)
