from dataclasses import fields
from typing import Any

import pytest

from edge_agent.domain.traffic import DAYS, ScanFlow, TrafficEstimate, estimate_month_bytes

SIX_METERS_HALF_HOURLY = [ScanFlow(points=20, per_day=48)] * 6
SIX_METERS_EACH_MINUTE = [ScanFlow(points=20, per_day=1440)] * 6


def estimate(flows: list[ScanFlow], **changed: Any) -> TrafficEstimate:
    usual = {
        "send_interval_s": 1800,
        "keepalive_s": 2160,
        "hello_every_s": 21_600,
        "health_every_s": 21_600,
        "meters": len(flows),
    }
    return estimate_month_bytes(flows, **{**usual, **changed})


def test_the_parts_make_up_the_whole() -> None:
    parts = estimate(SIX_METERS_HALF_HOURLY)
    assert parts.total == round(sum(getattr(parts, part.name) for part in fields(parts)))
    assert min(getattr(parts, part.name) for part in fields(parts) if part.name != "keepalive") > 0


def test_half_hourly_batches_need_no_sign_of_life_above_half_an_hour() -> None:
    assert estimate(SIX_METERS_HALF_HOURLY).keepalive == 0
    assert estimate(SIX_METERS_HALF_HOURLY, keepalive_s=1200).keepalive == pytest.approx(48 * DAYS * 200, rel=0.1)


def test_wider_batches_cost_less() -> None:
    totals = [estimate(SIX_METERS_EACH_MINUTE, send_interval_s=interval_s).total for interval_s in (0, 60, 300, 1800)]
    assert totals[0] == totals[1]
    assert totals[1:] == sorted(totals[1:], reverse=True)


def test_nothing_is_sent_more_often_than_it_is_sampled() -> None:
    assert estimate(SIX_METERS_HALF_HOURLY, send_interval_s=60) == estimate(SIX_METERS_HALF_HOURLY)


def test_a_longer_name_costs_something() -> None:
    assert (
        estimate(SIX_METERS_HALF_HOURLY, controller_id="x" * 60).total
        > estimate(SIX_METERS_HALF_HOURLY, controller_id="x").total
    )


def test_without_encryption_it_costs_less() -> None:
    assert estimate(SIX_METERS_HALF_HOURLY, is_encrypted=False).total < estimate(SIX_METERS_HALF_HOURLY).total


def test_without_meters_only_the_line_itself_costs() -> None:
    parts = estimate([])
    assert parts.readings == parts.envelopes == parts.acks == 0
    assert parts.keepalive > 0
