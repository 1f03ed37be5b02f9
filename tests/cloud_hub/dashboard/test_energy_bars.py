from datetime import date, timedelta

import pytest

from cloud_hub.analysis.model import Figure, Step
from cloud_hub.analysis.results import Bucket
from cloud_hub.dashboard.energy_bars import Bars, draw_bars, list_ticks
from cloud_hub.dashboard.energy_wording import scale_of

KWH = 10**9
DAY_MS = 86_400_000
WHOLE = Figure(measured_micro=10 * KWH, expected_ms=DAY_MS, complete_ms=DAY_MS, meters=1)
MISSING = Figure(expected_ms=DAY_MS, missing_ms=DAY_MS, meters=1)
ZERO = Figure(expected_ms=DAY_MS, complete_ms=DAY_MS, meters=1)


def draw(*figures: Figure) -> Bars:
    days = [date(2026, 3, 1) + timedelta(days=n) for n in range(len(figures))]
    return draw_bars([Bucket(day, day, None, None) for day in days], figures, Step.DAY, scale_of("Wh"))


def test_a_missing_day_is_marked_over_its_whole_height_and_never_drawn_as_zero() -> None:
    missing, zero = draw(MISSING, ZERO).bars
    assert [(block.css, block.y, block.height) for block in missing.blocks] == [("missing", "0%", "100%")]
    assert missing.tells == "Sun 1 Mar 2026: missing, 0\xa0% complete"
    assert zero.blocks == ()
    assert zero.tells == "Mon 2 Mar 2026: 0.00 kWh, measured, 100\xa0% complete"


def test_a_day_that_is_not_due_has_neither_bar_nor_mark() -> None:
    assert draw(WHOLE, Figure()).bars[1].blocks == ()


def test_parts_of_a_day_stand_on_each_other_by_how_they_are_known() -> None:
    figure = Figure(
        measured_micro=4 * KWH,
        estimated_micro=3 * KWH,
        edited_micro=3 * KWH,
        expected_ms=DAY_MS,
        complete_ms=DAY_MS,
        estimated_ms=DAY_MS // 4,
        edited_ms=DAY_MS // 4,
    )
    blocks = draw(figure, WHOLE).bars[0].blocks
    assert [block.css for block in blocks] == ["measured", "edited", "estimated"]
    heights = [float(block.height.rstrip("%")) for block in blocks]
    assert sum(heights) == pytest.approx(float(draw(figure, WHOLE).bars[1].blocks[0].height.rstrip("%")), abs=0.02)


def test_the_room_above_a_bar_is_marked_by_the_share_of_time_that_is_missing() -> None:
    def cap(missing_ms: int) -> float:
        figure = Figure(measured_micro=KWH, expected_ms=DAY_MS, missing_ms=missing_ms)
        block = draw(figure, WHOLE).bars[0].blocks[-1]
        assert block.css == "missing"
        return float(block.height.rstrip("%"))

    assert 0 < cap(1_800_000) < cap(DAY_MS // 2) < cap(DAY_MS * 3 // 4)


def test_amounts_below_zero_hang_from_the_zero_line() -> None:
    bars = draw(Figure(measured_micro=-5 * KWH, expected_ms=DAY_MS, complete_ms=DAY_MS), WHOLE)
    zero = next(tick for tick in bars.ticks if tick.label == "0")
    assert bars.bars[0].blocks[0].y == zero.y
    assert bars.ticks[0].label.startswith("\N{MINUS SIGN}")


@pytest.mark.parametrize("high", [1, 7, 99, 100, 123_456, 10**15])
def test_lines_across_are_round_few_and_below_the_highest_bar(high: int) -> None:
    ticks = list_ticks(0, high)
    assert ticks[0] == 0
    assert len(ticks) <= 5
    assert ticks[-1] <= high
    assert all(
        str(tick).rstrip("0") in {"", "1", "2", "3", "4", "5", "6", "7", "8", "15", "25", "75"} for tick in ticks
    )
