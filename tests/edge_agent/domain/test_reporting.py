"""Policies decide which samples are reported; nothing that a policy promises is lost by a fault or a set clock."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.reporting import Reporter, Sample, make_reporter
from protocol.manifest import PointKind
from protocol.quality import Quality
from protocol.report_policy import Report

HALF_HOUR_MS = 1_800_000
START_MS = 1_700_000_000_000 // HALF_HOUR_MS * HALF_HOUR_MS
GAUGE, COUNTER, STATE = PointKind.GAUGE, PointKind.COUNTER, PointKind.STATE
TIMEOUT, REFUSED = int(Quality.TIMEOUT), 258


def sample(after_ms: int, *values: float | None, quality: tuple[int, ...] | None = None, skew_ms: int = 0) -> Sample:
    return Sample(START_MS + after_ms + skew_ms, 5_000 + after_ms, values, quality)


def reporter(kinds: Sequence[PointKind] = (GAUGE,), period_ms: int = 1_000, **report: Any) -> Reporter:
    return make_reporter(kinds, Report.model_validate(report), period_ms)


def reported(by: Reporter, samples: Iterable[Sample], *, keep_every: int = 1) -> list[Sample]:
    return [report for one in samples if (report := by.take(one, keep_every=keep_every))]


def test_every_sample_is_reported_as_it_is() -> None:
    samples = [sample(n * 1_000, float(n)) for n in range(5)]
    every = reporter()
    assert reported(every, samples) == samples
    assert every.close() is None


@pytest.mark.parametrize("policy", ["every", "on_change"])
def test_thinned_gauges_keep_each_nth_slot_and_the_first_of_each_half_hour(policy: str) -> None:
    by = reporter(period_ms=60_000, policy=policy)
    # The hour begins in the middle of a slot's turn: 7 does not divide 30.
    samples = [sample(n * 60_000, float(n)) for n in range(61)]
    kept = [(s.at_ms - START_MS) // 60_000 for s in reported(by, samples, keep_every=7)]
    first_slot = START_MS // 60_000
    assert kept == [n for n in range(61) if n % 30 == 0 or (first_slot + n) % 7 == 0]


class TestOnChange:
    def test_value_within_the_deadband_of_the_last_reported_one_is_no_news(self) -> None:
        by = reporter(policy="on_change", deadband=1.0)
        values = [230.0, 230.9, 231.0, 231.1, 230.2, 230.0]
        assert [s.values[0] for s in reported(by, (sample(n * 1_000, v) for n, v in enumerate(values)))] == [
            230.0,
            231.1,
            230.0,
        ]

    def test_slow_drift_is_seen_because_it_is_measured_from_what_was_reported(self) -> None:
        by = reporter(policy="on_change", deadband=1.0)
        drift = [sample(n * 1_000, 230 + n * 0.4) for n in range(10)]
        assert len(reported(by, drift)) == 4

    def test_larger_of_both_deadbands_counts(self) -> None:
        by = reporter(policy="on_change", deadband=1.0, deadband_percent=10)
        assert len(reported(by, [sample(0, 100.0), sample(1_000, 109.0), sample(2_000, 111.0)])) == 2
        assert len(reported(by, [sample(3_000, 1.0), sample(4_000, 1.9), sample(5_000, 2.1)])) == 2

    def test_one_point_s_news_reports_the_whole_scan(self) -> None:
        by = reporter([GAUGE, GAUGE], policy="on_change", deadband=1.0)
        assert reported(by, [sample(0, 1.0, 1.0), sample(1_000, 1.5, 9.0)])[-1].values == (1.5, 9.0)

    def test_any_other_state_is_news_whatever_the_deadband(self) -> None:
        by = reporter([STATE], policy="on_change", deadband=5.0)
        assert len(reported(by, [sample(0, 1.0), sample(1_000, 1.0), sample(2_000, 2.0)])) == 2

    def test_change_of_quality_is_news_both_ways(self) -> None:
        by = reporter(policy="on_change", deadband=5.0)
        samples = [
            sample(0, 1.0),
            sample(1_000, None, quality=(TIMEOUT,)),
            sample(2_000, None, quality=(TIMEOUT,)),
            sample(3_000, None, quality=(REFUSED,)),
            sample(4_000, 1.0),
        ]
        assert reported(by, samples) == [samples[0], samples[1], samples[3], samples[4]]

    def test_heartbeat_beats_on_the_wall_clock_grid(self) -> None:
        by = reporter(policy="on_change", heartbeat_s=600)
        samples = [sample(n * 70_000, 5.0) for n in range(1, 20)]
        after = [(s.at_ms - START_MS) // 600_000 for s in reported(by, samples)]
        assert after == [0, 1, 2]

    def test_news_that_was_thinned_away_is_told_with_the_next_sample_considered(self) -> None:
        by = reporter(policy="on_change", period_ms=1_000)
        samples = [sample(n * 1_000, float(n)) for n in range(1, 9)]
        kept = reported(by, samples, keep_every=4)
        assert [s.at_ms // 1_000 % 4 for s in kept[1:]] == [0, 0]

    @given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.floats(0, 100))
    def test_what_is_known_at_the_hub_is_never_further_off_than_the_deadband(
        self, values: list[float], deadband: float
    ) -> None:
        by = reporter(policy="on_change", deadband=deadband)
        known = None
        for n, value in enumerate(values):
            report = by.take(sample(n * 1_000, value))
            known = report.values[0] if report else known
            assert known is not None
            assert abs(value - known) <= deadband


class TestAggregate:
    def test_period_is_summed_up_at_the_first_sample_of_the_next_and_dated_by_its_own_last(self) -> None:
        by = reporter(policy="aggregate", every_s=60)
        samples = [sample(n * 20_000, v) for n, v in enumerate([1.0, 4.0, 2.5, 9.0])]
        [report] = reported(by, samples)
        assert (report.at_ms, report.monotonic_ms) == (samples[2].at_ms, samples[2].monotonic_ms)
        assert report.values == (2.5, 1.0, 4.0, 2.5, 3.0)
        assert report.quality is None

    def test_chosen_statistics_come_in_their_order(self) -> None:
        by = reporter(policy="aggregate", every_s=60, statistics=["max", "min"])
        reported(by, [sample(0, 1.0), sample(20_000, 4.0)])
        assert by.close() == sample(20_000, 4.0, 1.0, 2.0)

    def test_mean_has_one_decimal_more_than_the_meter_gives(self) -> None:
        by = reporter(policy="aggregate", statistics=["mean"])
        reported(by, [sample(0, 231.2), sample(1_000, 231.2), sample(2_000, 231.3)])
        assert by.close() == sample(2_000, 231.23, 3.0)

    def test_counters_and_states_report_what_the_last_sample_said(self) -> None:
        by = reporter([COUNTER, STATE], policy="aggregate", every_s=60)
        reported(by, [sample(0, 10.0, 1.0), sample(20_000, 12.0, None, quality=(0, TIMEOUT))])
        last = by.close()
        assert last is not None
        assert (last.values, last.quality) == ((12.0, None, 2.0), (0, TIMEOUT, 0))

    def test_faults_are_left_out_of_statistics_and_counted_among_the_samples(self) -> None:
        by = reporter(policy="aggregate", statistics=["mean", "last"])
        reported(by, [sample(0, 4.0), sample(1_000, 6.0), sample(2_000, None, quality=(TIMEOUT,))])
        assert by.close() == sample(2_000, 5.0, 6.0, 3.0)

    def test_statistic_of_no_good_sample_carries_the_commonest_fault(self) -> None:
        by = reporter(policy="aggregate", statistics=["mean", "max"])
        for n, code in enumerate([TIMEOUT, REFUSED, REFUSED]):
            by.take(sample(n * 1_000, None, quality=(code,)))
        assert by.close() == sample(2_000, None, None, 3.0, quality=(REFUSED, REFUSED, 0))

    def test_doubtful_values_alone_are_reported_as_doubtful(self) -> None:
        by = reporter(policy="aggregate", statistics=["mean"])
        doubt = int(Quality.OUT_OF_RANGE)
        by.take(sample(0, 700.0, quality=(doubt,)))
        assert by.close() == sample(0, 700.0, 1.0, quality=(doubt, 0))

    def test_part_of_a_period_is_given_at_the_end_once(self) -> None:
        by = reporter(policy="aggregate")
        assert by.close() is None
        by.take(sample(0, 1.0))
        assert by.close() == sample(0, 1.0, 1.0, 1.0, 1.0, 1.0)
        assert by.close() is None

    @pytest.mark.parametrize("skew_ms", [-3_600_000, -5_000, 5_000, 315_360_000_000])
    def test_clock_that_is_set_closes_the_period(self, skew_ms: int) -> None:
        by = reporter(policy="aggregate", statistics=["last"])
        before = sample(1_000, 1.0)
        assert by.take(before) is None
        report = by.take(sample(2_000, 2.0, skew_ms=skew_ms))
        assert report == before._replace(values=(1.0, 1.0))

    def test_thinning_makes_the_periods_longer_and_loses_no_sample(self) -> None:
        by = reporter(policy="aggregate", every_s=60, statistics=["max"])
        samples = [sample(n * 30_000, float(n)) for n in range(13)]
        reports = reported(by, samples, keep_every=3)
        rest = by.close()
        assert rest is not None
        assert sum(report.values[-1] or 0 for report in [*reports, rest]) == len(samples)
        assert all(b.at_ms - a.at_ms == 180_000 for a, b in pairwise(reports))

    @given(st.lists(st.integers(0, 100_000), min_size=1, max_size=200))
    def test_every_sample_is_in_exactly_one_report(self, steps_ms: list[int]) -> None:
        by = reporter(policy="aggregate", every_s=60, statistics=["mean", "min", "max"])
        after_ms, reports = 0, []
        for step_ms in steps_ms:
            after_ms += step_ms
            reports.append(by.take(sample(after_ms, float(after_ms))))
        reports.append(by.close())
        given_out = [report.values for report in reports if report]
        assert sum(values[-1] or 0 for values in given_out) == len(steps_ms)
        for mean, lowest, highest, _ in given_out:
            assert None not in (mean, lowest, highest)
            assert (lowest or 0) <= (mean or 0) <= (highest or 0)
