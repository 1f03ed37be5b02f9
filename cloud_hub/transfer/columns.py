"""The first line of a file: which of its columns is what. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from cloud_hub.errors import Invalid
from cloud_hub.transfer.options import (
    METER,
    OBSERVED_AT,
    POINT,
    QUALITY,
    RECEIVED_AT,
    ROLES,
    UNIT,
    VALUE,
    ImportOptions,
)
from cloud_hub.transfer.units import stored_unit
from protocol.errors import InvalidIdentifier
from protocol.identifiers import parse_point_name

_TITLE_WITH_UNIT = re.compile(r"(?P<point>.+?)\s*\[(?P<unit>[^\]]+)\]")
_TITLES_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a value stands in a row, and what it is."""

    index: int
    title: str
    point: str
    """Empty in the long form: the row names it."""
    unit: str | None
    """What the value is stored in."""
    factor: Fraction


@dataclass(frozen=True, slots=True)
class Columns:
    """What stands where in a row; -1 is nowhere."""

    width: int
    titles: tuple[str, ...]
    observed_at: int
    received_at: int
    meter: int
    point: int
    quality: int
    unit: int
    cells: tuple[Cell, ...]

    @property
    def is_long(self) -> bool:
        """Whether each row is one reading."""
        return self.point >= 0


def read_columns(first_line: Sequence[str], options: ImportOptions) -> Columns:
    """Find the columns by their titles.

    Raises: Invalid when a needed one is missing, or a title is no point's name.
    """
    titles = tuple(title.strip() for title in first_line)
    places = {role: _find(titles, role, options) for role in ROLES}
    if places[OBSERVED_AT] < 0:
        raise Invalid(
            f"the first line names the columns {_shown(titles)}: none is {OBSERVED_AT!r}, so say "
            f"--column {OBSERVED_AT}=TITLE with the title of the column of time"
        )
    if places[METER] < 0 and options.meter is None:
        raise Invalid(
            f"the first line names the columns {_shown(titles)}: none is {METER!r}, so say --column {METER}=TITLE, or "
            "--meter with the one meter that the file is about"
        )
    if (places[POINT] < 0) != (places[VALUE] < 0):
        raise Invalid(
            f"a file with a row per reading needs both columns, {POINT!r} and {VALUE!r}: name them by --column"
        )
    is_long = places[POINT] >= 0
    cells = (_long_cell(titles, places[VALUE], options),) if is_long else _wide_cells(titles, places, options)
    return Columns(
        len(titles),
        titles,
        places[OBSERVED_AT],
        places[RECEIVED_AT],
        places[METER] if options.meter is None else -1,
        places[POINT],
        places[QUALITY],
        places[UNIT] if is_long else -1,
        cells,
    )


def _find(titles: Sequence[str], role: str, options: ImportOptions) -> int:
    wanted = options.titles.get(role)
    if wanted is not None and wanted not in titles:
        raise Invalid(f"no column is called {wanted!r}: the first line names {_shown(titles)}")
    title = role if wanted is None else wanted
    if titles.count(title) > 1:
        raise Invalid(f"the first line names the column {title!r} {titles.count(title)} times: rename all but one")
    return titles.index(title) if title in titles else -1


def _long_cell(titles: Sequence[str], index: int, options: ImportOptions) -> Cell:
    if options.value_columns:
        raise Invalid(f"the file names its points in a column: leave out --point {options.value_columns[0].title}=…")
    return _cell(titles, index, "", options.unit)


def _wide_cells(titles: Sequence[str], places: dict[str, int], options: ImportOptions) -> tuple[Cell, ...]:
    if options.value_columns:
        cells = []
        for column in options.value_columns:
            if column.title not in titles:
                raise Invalid(f"no column is called {column.title!r}: the first line names {_shown(titles)}")
            cells.append(_cell(titles, titles.index(column.title), column.point, column.unit or options.unit))
    else:
        taken = {index for role, index in places.items() if role != UNIT}
        cells = [
            _titled_cell(titles, index, options) for index in range(len(titles)) if index not in taken and titles[index]
        ]
    if not cells:
        raise Invalid(f"no column holds readings: the first line names {_shown(titles)}")
    points = [cell.point for cell in cells]
    for cell in cells:
        try:
            parse_point_name(cell.point)
        except InvalidIdentifier as error:
            raise Invalid(
                f"column {cell.title!r}: {error}; say --point {cell.title}=POINT for each column that holds readings"
            ) from error
        if points.count(cell.point) > 1:
            raise Invalid(f"two columns hold the point {cell.point!r}: name only one of them")
    return tuple(cells)


def _titled_cell(titles: Sequence[str], index: int, options: ImportOptions) -> Cell:
    match = _TITLE_WITH_UNIT.fullmatch(titles[index])
    if match is None:
        return _cell(titles, index, titles[index], options.unit)
    return _cell(titles, index, match["point"], match["unit"].strip())


def _cell(titles: Sequence[str], index: int, point: str, unit: str | None) -> Cell:
    if unit is None:
        return Cell(index, titles[index], point, None, Fraction(1))
    stored, factor = stored_unit(unit)
    return Cell(index, titles[index], point, stored, factor)


def _shown(titles: Sequence[str]) -> str:
    more = f" and {len(titles) - _TITLES_SHOWN} more" if len(titles) > _TITLES_SHOWN else ""
    return (", ".join(titles[:_TITLES_SHOWN]) or "none") + more
