"""The ledger says the same whatever way the readings came: a property."""

import random
from datetime import datetime, timedelta

import pytest
from ledger_factories import MONDAY, Counted, add_counted, content, recompute, store
from sqlalchemy import Engine, text

from cloud_hub.energy.model import IntervalQuality
from cloud_hub.ledger.silent import mark_silent

STEP = timedelta(minutes=30)
DAYS = 24

Readings = list[tuple[datetime, float]]


def make_troubled_readings(chance: random.Random, start: datetime, days: int = DAYS) -> Readings:
    """Make a register with a daily shape, then gaps, glitches, resets and repeated readings of it."""
    register, readings = 5000.0, Readings()
    for number in range(days * 48):
        hour = number % 48 / 2
        register += round((80 + 60 * (8 <= hour < 18)) * chance.uniform(0.7, 1.3))
        if chance.random() < 0.002:
            register = 0.0
        at = start + number * STEP + timedelta(milliseconds=chance.randrange(2000))
        value = register
        if chance.random() < 0.01:
            value = chance.choice((0.0, register - 400, register + 9e8))
        readings.append((at, value))
        if chance.random() < 0.01:
            readings.append((at, register + chance.choice((0, 0, 3))))
    for _ in range(4):
        begin = chance.randrange(len(readings))
        del readings[begin : begin + chance.choice((2, 7, 60, 150))]
    return readings


def deliver(engine: Engine, counted: Counted, readings: Readings, chance: random.Random, end: datetime) -> None:
    """Deliver readings in blocks of any order, and recompute in between, or not."""
    blocks: list[Readings] = []
    rest = list(readings)
    while rest:
        size = chance.choice((1, 3, 48, 200))
        blocks.append(rest[:size])
        rest = rest[size:]
    if chance.random() < 0.7:
        chance.shuffle(blocks)
    clock = readings[0][0]
    for block in blocks:
        chance.shuffle(block)
        store(engine, counted, block, now=end)
        if chance.random() < 0.15:
            newest = max(at for at, _ in block)
            clock = max(clock, min(end, newest + timedelta(minutes=chance.choice((0, 20, 600, 6000)))))
            recompute(engine, clock)
        if chance.random() < 0.1:
            mark_silent(engine, clock)


def settle(engine: Engine, end: datetime) -> None:
    """Recompute until nothing is left to be said."""
    recompute(engine, end)
    while mark_silent(engine, end):
        recompute(engine, end)


def read_qualities(engine: Engine) -> list[list[int]]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT qualities FROM ledger_days")))


def wipe(engine: Engine) -> None:
    with engine.begin() as connection:
        for table in ("scans", "ledger_dirty", "ledger_days", "ledger_superseded", "ledger_months", "ledger_findings"):
            connection.execute(text(f"DELETE FROM {table}"))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("time_zone", "interval_s", "start"),
    [
        pytest.param("UTC", 1800, MONDAY, id="half hours"),
        pytest.param(
            "America/Los_Angeles", 3600, datetime.fromisoformat("2026-02-26T13:00:00+00:00"), id="west, spring"
        ),
        pytest.param("Asia/Kathmandu", 900, MONDAY, id="quarter hours at +05:45"),
        pytest.param("Australia/Lord_Howe", 1800, datetime.fromisoformat("2026-03-25T00:00:00+00:00"), id="Lord Howe"),
    ],
)
def test_any_order_of_arrival_gives_the_same_ledger_to_the_bit(
    engine: Engine, time_zone: str, interval_s: int, start: datetime, seed: int
) -> None:
    counted = add_counted(engine, time_zone=time_zone, interval_s=interval_s)
    readings = make_troubled_readings(random.Random(seed), start)
    end = readings[-1][0] + timedelta(days=2)
    store(engine, counted, readings, now=end)
    settle(engine, end)
    expected = content(engine)
    qualities = {code for row in read_qualities(engine) for code in row}
    assert {IntervalQuality.MEASURED, IntervalQuality.ESTIMATED} <= qualities  # the readings were troubled

    wipe(engine)
    deliver(engine, counted, readings, random.Random(seed + 1000), end)
    settle(engine, end)

    assert content(engine) == expected
