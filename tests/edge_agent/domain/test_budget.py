from datetime import UTC, datetime

import pytest

from edge_agent.domain.budget import Budget, Level, MonthTraffic, Stage, list_levels, month_of, seconds_left

HOUR_MS = 3_600_000


def at_ms(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp() * 1000)


MARCH_MS, APRIL_MS = at_ms(2026, 3, 1), at_ms(2026, 4, 1)
HOURS_OF_MARCH = 31 * 24


class Month:
    """Plays hours of traffic to a budget, at a rate that follows its level."""

    def __init__(self, budget: Budget, start_ms: int = MARCH_MS) -> None:
        self.budget, self.now_ms, self.now_s, self.used = budget, start_ms, 0.0, 0
        budget.observe(0, start_ms, 0.0)
        self.changes: list[Level] = []

    def play(self, hours: int, bytes_per_hour: dict[Stage, int] | int) -> None:
        for _ in range(hours):
            rate = bytes_per_hour if isinstance(bytes_per_hour, int) else bytes_per_hour[self.budget.level.stage]
            self.used, self.now_ms, self.now_s = self.used + rate, self.now_ms + HOUR_MS, self.now_s + 3600
            if self.budget.observe(self.used, self.now_ms, self.now_s):
                self.changes.append(self.budget.level)


def make_budget(limit: int | None = 1_000_000, *, interval_s: float = 60, thin_gauges: bool = True) -> Budget:
    budget = Budget()
    budget.follow(limit_bytes=limit, send_interval_s=interval_s, thin_gauges=thin_gauges)
    return budget


def test_batches_widen_step_by_step_up_to_half_hourly_ones_before_gauges_are_thinned() -> None:
    levels = list_levels(60, thin_gauges=True)
    assert [level.send_at_least_every_s for level in levels] == [0, 120, 240, 480, 960, 1800, 1800, 1800, 1800]
    assert [level.keep_every for level in levels] == [1, 1, 1, 1, 1, 1, 2, 4, 8]
    assert [level.stage for level in levels] == [Stage.NORMAL] + [Stage.WIDE] * 5 + [Stage.THIN] * 3


@pytest.mark.parametrize(
    ("interval_s", "thin_gauges", "expected"),
    [(1800, False, [0]), (900, False, [0, 1800]), (0, False, [0, 60, 120, 240, 480, 960, 1800])],
    ids=["half-hourly", "quarter-hourly", "at once"],
)
def test_without_permission_no_gauge_is_thinned(interval_s: float, thin_gauges: bool, expected: list[float]) -> None:  # noqa: FBT001 - a fact of the case
    levels = list_levels(interval_s, thin_gauges=thin_gauges)
    assert [level.send_at_least_every_s for level in levels] == expected


def test_a_budget_that_suffices_changes_nothing() -> None:
    month = Month(make_budget())
    month.play(HOURS_OF_MARCH - 1, 1_000_000 // HOURS_OF_MARCH - 50)
    assert month.changes == []


def test_without_a_budget_nothing_changes_and_the_forecast_is_there_all_the_same() -> None:
    month = Month(make_budget(None))
    month.play(48, 1_000_000)
    assert month.changes == []
    assert month.budget.forecast_bytes(month.used, month.now_ms) == pytest.approx(HOURS_OF_MARCH * 1_000_000)


def test_a_forecast_above_the_budget_saves_step_by_step_until_it_fits() -> None:
    month = Month(make_budget())
    month.play(200, {Stage.NORMAL: 4000, Stage.WIDE: 1500, Stage.THIN: 900})
    assert [level.stage for level in month.changes] == [Stage.WIDE] * 5 + [Stage.THIN]
    forecast = month.budget.forecast_bytes(month.used, month.now_ms)
    assert forecast is not None
    assert forecast < 1_000_000


def test_a_change_is_judged_only_after_hours_at_the_new_level() -> None:
    month = Month(make_budget())
    month.play(5, 10_000)
    assert month.changes == []
    month.play(1, 10_000)
    assert len(month.changes) == 1
    month.play(5, 10_000)
    assert len(month.changes) == 1


def test_an_outages_backlog_is_no_habit() -> None:
    month = Month(make_budget())
    month.play(10, 1000)
    month.play(1, 100_000)
    month.play(30, 1000)
    assert month.changes == []


def test_it_eases_only_when_twice_the_rate_would_fit_and_after_a_day() -> None:
    month = Month(make_budget())
    month.play(6, 4000)
    month.play(20, 100)
    assert [level.stage for level in month.changes] == [Stage.WIDE]
    month.play(10, 100)
    assert [level.stage for level in month.changes] == [Stage.WIDE, Stage.NORMAL]
    steady = Month(make_budget())
    steady.play(6, 4000)
    steady.play(100, 1200)
    assert steady.budget.level.stage is Stage.WIDE


def test_a_new_month_begins_as_the_plan_says() -> None:
    month = Month(make_budget())
    month.play(30, 10_000)
    month.budget.month_turned()
    assert month.budget.level == Level()


def test_another_budget_keeps_what_still_exists_of_the_level() -> None:
    budget = make_budget()
    budget.index = 7
    budget.follow(limit_bytes=10, send_interval_s=900, thin_gauges=False)
    assert budget.level == Level(Stage.WIDE, 1800)
    budget.follow(limit_bytes=None, send_interval_s=900, thin_gauges=False)
    assert budget.level == Level()


def test_bytes_belong_to_the_utc_month_in_which_they_pass() -> None:
    traffic = MonthTraffic()
    assert traffic.add(10, APRIL_MS - 1, is_clock_trusted=True)
    assert not traffic.add(10, APRIL_MS - 1, is_clock_trusted=True)
    assert traffic.used_bytes == 20
    assert traffic.add(7, APRIL_MS, is_clock_trusted=True)
    assert traffic.used_bytes == 7


def test_a_clock_that_is_not_trusted_begins_no_month() -> None:
    traffic = MonthTraffic()
    traffic.add(10, MARCH_MS, is_clock_trusted=True)
    assert not traffic.add(5, 0, is_clock_trusted=False)
    assert (traffic.month, traffic.used_bytes) == (month_of(MARCH_MS), 15)


def test_what_was_counted_before_the_first_trusted_time_is_not_lost() -> None:
    traffic = MonthTraffic()
    traffic.add(10, 0, is_clock_trusted=False)
    traffic.add(5, MARCH_MS, is_clock_trusted=True)
    assert traffic.used_bytes == 15


@pytest.mark.parametrize(
    ("now_ms", "days"), [(MARCH_MS, 31), (at_ms(2026, 12, 31), 1), (at_ms(2028, 2, 28), 2)], ids=str
)
def test_the_month_ends_where_utc_says(now_ms: int, days: int) -> None:
    assert seconds_left(now_ms) == days * 86_400
