from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from cloud_hub.analysis.load import draw_heat
from cloud_hub.analysis.model import Measure, Scope, ScopeKind
from cloud_hub.analysis.results import HeatMap
from cloud_hub.analysis.sums import add_register, no_sums
from cloud_hub.calendar.days import make_grid
from cloud_hub.dashboard.energy_heat import LEVELS, Heat, draw_heat_map, level_of
from cloud_hub.dashboard.energy_wording import scale_of
from cloud_hub.energy.model import IntervalQuality, Intervals

SCOPE = Scope(ScopeKind.SITE, "north", "North", Measure("active_energy", "Wh"), (), ())


def draw(first: date, last: date, qualities: dict[int, IntervalQuality] | None = None) -> Heat:
    """Draw days of one even kilowatt, but for the qualities of some intervals."""
    grid = make_grid(first, last, ZoneInfo("Europe/Berlin"), 1800)
    size = len(grid)
    codes = np.zeros(size, np.int16)
    for place, quality in (qualities or {}).items():
        codes[place] = quality
    amounts = np.where(codes < IntervalQuality.MISSING, 500_000_000, 0).astype(np.int64)
    complete = np.where(codes == IntervalQuality.MEASURED, 1000, 0).astype(np.int16)
    sums = no_sums(size)
    add_register(sums, Intervals(amounts, codes, complete, np.zeros(size, np.int32)), np.ones(size, np.bool_))
    return draw_heat_map(HeatMap(SCOPE, *draw_heat(sums, grid)), scale_of("Wh"))


def test_a_cell_tells_its_power_and_whatever_is_not_measured() -> None:
    some = {3: IntervalQuality.ESTIMATED, 4: IntervalQuality.MISSING, 5: IntervalQuality.EDITED}
    heat = draw(date(2026, 3, 2), date(2026, 3, 2), some)
    cells = heat.rows[0].cells
    assert [cell.text for cell in cells[2:6]] == ["1.00", "1.00 estimated", "missing", "1.00 edited"]
    assert cells[4].css == "missing"
    assert cells[3].css == "h8 estimated"
    assert {word for _, word in heat.states} == {"estimated", "missing", "edited"}


def test_a_clock_that_goes_back_gives_a_second_column_that_only_its_day_fills() -> None:
    heat = draw(date(2025, 10, 25), date(2025, 10, 26))
    names = [column.name for column in heat.columns]
    assert len(names) == 50
    assert names[4:9] == ["02:00", "02:30", "02:00 again", "02:30 again", "03:00"]
    saturday, sunday = heat.rows
    assert [cell.text for cell in saturday.cells[6:8]] == ["no such time"] * 2
    assert [cell.text for cell in sunday.cells[6:8]] == ["1.00"] * 2


def test_a_clock_that_goes_forward_leaves_a_hole_that_is_not_called_missing() -> None:
    heat = draw(date(2026, 3, 28), date(2026, 3, 29))
    assert len(heat.columns) == 48
    assert [cell.text for cell in heat.rows[1].cells[3:7]] == ["1.00", "no such time", "no such time", "1.00"]
    assert "missing" not in {word for _, word in heat.states}


@pytest.mark.parametrize(("power", "level"), [(0, 0), (-5, 0), (1, 0), (100, LEVELS - 1), (50, LEVELS // 2)])
def test_colours_run_from_nothing_to_the_highest(power: int, level: int) -> None:
    assert level_of(power, 100) == level
