"""A heat map as rows of cells, each with a level for its colour and words for what is not simply measured. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cloud_hub.analysis.model import FigureQuality
from cloud_hub.analysis.results import CellState, Column, HeatMap
from cloud_hub.dashboard.energy_wording import Scale, format_minutes, format_number

LEVELS = 9
_HOUR_MARKS_MIN = 360
_WORDS: Mapping[str, str] = {
    FigureQuality.MISSING: "missing",
    FigureQuality.ESTIMATED: "estimated",
    FigureQuality.EDITED: "edited",
    FigureQuality.PARTIAL: "in part",
    FigureQuality.NOT_EXPECTED: "not due",
    CellState.NO_SUCH_TIME: "no such time",
}


@dataclass(frozen=True, slots=True)
class HeatCell:
    """One interval."""

    css: str
    text: str
    """Its power, and a word where it is not measured."""


@dataclass(frozen=True, slots=True)
class HeatColumn:
    """A time of the wall clock."""

    name: str
    mark: str
    """What stands over it; empty for most."""
    is_repeated: bool
    """True for the second pass of an hour: most days have nothing there."""


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One local day."""

    name: str
    month: str
    is_week_start: bool
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True, slots=True)
class Heat:
    """The picture, and its legend."""

    unit: str
    columns: tuple[HeatColumn, ...]
    rows: tuple[HeatRow, ...]
    lowest: str
    highest: str
    """What the palest and the strongest colour stand for."""
    states: tuple[tuple[str, str], ...]
    """Class and word of each state that is on the map, for the legend."""


def draw_heat_map(heat: HeatMap, scale: Scale) -> Heat:
    """Lay a heat map out for a table; the strongest colour is the map's highest power."""
    known = [power for row in heat.power_micro_per_h for power in row if power is not None]
    highest = max(known, default=0)
    rows = [
        HeatRow(
            name=f"{day:%a} {day.day}",
            month=f"{day:%b}",
            is_week_start=day.weekday() == 0,
            cells=tuple(_cell(power, state, highest, scale) for power, state in zip(powers, states, strict=True)),
        )
        for day, powers, states in zip(heat.days, heat.power_micro_per_h, heat.qualities, strict=True)
    ]
    columns = tuple(_column(column) for column in heat.columns)
    low, high = (format_number(power, scale) for power in (min(0, *known, 0), highest))
    return Heat(scale.power_unit, columns, tuple(rows), low, high, _legend(heat.qualities))


def level_of(power: int, highest: int) -> int:
    """Return the step of colour, from 0 to `LEVELS - 1`."""
    if power <= 0 or highest <= 0:
        return 0
    return min(LEVELS - 1, power * LEVELS // highest)


def _column(column: Column) -> HeatColumn:
    name = format_minutes(column.slot)
    if column.is_repeated:
        return HeatColumn(f"{name} again", "", is_repeated=True)
    return HeatColumn(name, name if column.slot % _HOUR_MARKS_MIN == 0 else "", is_repeated=False)


def _cell(power: int | None, state: str, highest: int, scale: Scale) -> HeatCell:
    word = _WORDS.get(state, "")
    css = state.replace("_", "-") if word else ""
    if power is None:
        return HeatCell(css, word)
    shade = f"h{level_of(power, highest)}"
    number = format_number(power, scale, 2)
    return HeatCell(f"{shade} {css}".strip(), f"{number} {word}".strip())


def _legend(qualities: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    there = {state for row in qualities for state in row}
    return tuple((state.replace("_", "-"), word) for state, word in _WORDS.items() if state in there)
