"""Registers with every fault that a meter can have, from a file to the ledger: the known energy, and each event named."""

import csv
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hub_factories import add_site
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session
from transfer_factories import NORTH, count_rows, import_text, stored_readings

from cloud_hub.energy.model import IntervalQuality
from cloud_hub.ledger.exchanges import record_exchange
from cloud_hub.ledger.models import LedgerFinding
from cloud_hub.ledger.recompute import recompute_all
from cloud_hub.ledger.registers import correct_register
from cloud_hub.ledger.versions import read_ledger
from cloud_hub.registry.models import Meter, Point
from cloud_hub.transfer.importing import Imported
from cloud_hub.transfer.options import ValueColumn
from protocol.quality import Quality

DATA = Path(__file__).parents[2] / "data" / "opsd_household_counters"
NOW = datetime(2016, 4, 3, tzinfo=UTC)
TOTAL_MICRO = 116_966 * 10**6
"""116.966 kWh in millionths of a watt hour."""


def import_faults(engine: Engine) -> Imported:
    return import_text(
        engine,
        (DATA / "fault_injected.csv").read_text(encoding="utf-8"),
        target=NORTH,
        titles={"observed_at": "sample_utc", "received_at": "received_utc"},
        value_columns=(ValueColumn("register_kwh", "active_energy_import_total", "kWh"),),
    )


@pytest.fixture
def imported(engine: Engine, session: Session) -> Imported:
    add_site(session)
    session.execute(text("UPDATE organisations SET interval_s = 3600"))
    session.commit()
    return import_faults(engine)


@pytest.fixture
def points(session: Session, imported: Imported) -> dict[str, int]:
    assert imported.is_stored
    query = select(Meter.label, Point.id).join(Point, Point.meter_id == Meter.id)
    return {row.label: row.id for row in session.execute(query)}


def amounts(session: Session, point_id: int) -> dict[str, tuple[int, int]]:
    columns = read_ledger(session, [point_id], NOW.date() - timedelta(days=20), NOW.date())[point_id]
    starts = [datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for at in columns.start_ms.tolist()]
    return dict(zip(starts, zip(columns.amounts_micro.tolist(), columns.qualities.tolist(), strict=True), strict=True))


def set_facts_right(session: Session, points: dict[str, int]) -> None:
    """Say what people know: where registers roll over, and that a meter was exchanged."""
    for label, rollover in (("B_rollover", 1_000_000), ("C_reset", 99_999_999)):
        correct_register(
            session, points[label], valid_from=None, who="ann", why="number of digits", rollover=Decimal(rollover)
        )
    record_exchange(
        session,
        points["D_exchange"],
        at=datetime(2016, 3, 28, 11, tzinfo=UTC),
        closing=Decimal(2_769_880),
        opening=Decimal(15_300),
        who="ann",
    )
    session.commit()


def test_the_file_is_taken_whole_and_what_it_tells_of_clock_and_line_is_named(imported: Imported) -> None:
    assert (imported.rejected, imported.lines, imported.repeated) == (0, 1679, 2)
    assert imported.new == 1677
    assert {meter.slug for meter in imported.meters} == {"a_clean", "b_rollover", "c_reset", "d_exchange", "e_dirty"}
    assert imported.findings == {"clock_shift": 1, "duplicate": 1, "out_of_order": 1}


def test_a_wrong_clock_is_set_right_and_its_readings_say_so(engine: Engine, imported: Imported) -> None:
    assert imported.is_stored
    rows = [row for row in stored_readings(engine) if row[0] == "e_dirty"]
    doubted = [at for _, _, at, _, quality in rows if quality == Quality.CLOCK_UNCERTAIN]
    assert len(doubted) == 24
    assert (doubted[0], doubted[-1]) == (datetime(2016, 3, 25, tzinfo=UTC), datetime(2016, 3, 25, 23, tzinfo=UTC))
    assert len({at for _, _, at, _, _ in rows}) == len(rows)


def test_the_same_file_again_adds_nothing(engine: Engine, imported: Imported) -> None:
    tables = ("scans", "ledger_findings", "layouts", "ledger_dirty")
    before = count_rows(engine, *tables)
    again = import_faults(engine)
    assert (again.new, again.known) == (0, imported.new)
    assert count_rows(engine, *tables) == before


def test_every_meter_counts_the_known_energy_hour_by_hour_or_says_that_it_is_an_estimate(
    engine: Engine, session: Session, points: dict[str, int]
) -> None:
    set_facts_right(session, points)
    recompute_all(engine, NOW)
    with (DATA / "fault_truth_hourly.csv").open(encoding="utf-8") as file:
        truth = {row["interval_start_utc"]: int(Decimal(row["true_kwh"]) * 10**9) for row in csv.DictReader(file)}
    for label, point_id in points.items():
        counted = amounts(session, point_id)
        assert sum(amount for amount, _ in counted.values()) == TOTAL_MICRO, label
        for start, true_micro in truth.items():
            amount, quality = counted[start]
            assert amount == true_micro or quality != IntervalQuality.MEASURED, (label, start)


def test_without_its_exchange_record_a_meter_counts_what_is_known_and_no_more(
    engine: Engine, session: Session, points: dict[str, int]
) -> None:
    recompute_all(engine, NOW)
    counted = amounts(session, points["D_exchange"])
    assert sum(amount for amount, _ in counted.values()) == TOTAL_MICRO - 670 * 10**6
    assert counted["2016-03-28T10:00:00Z"][1] != IntervalQuality.MEASURED


def test_every_injected_event_is_reported_under_its_name(
    engine: Engine, session: Session, points: dict[str, int]
) -> None:
    set_facts_right(session, points)
    recompute_all(engine, NOW)
    found: defaultdict[str, set[str]] = defaultdict(set)
    for point_id, kind in session.execute(select(LedgerFinding.point_id, LedgerFinding.kind)):
        label = next(label for label, one in points.items() if one == point_id)
        found[label].add(kind)
    with (DATA / "fault_events.csv").open(encoding="utf-8") as file:
        for event in csv.DictReader(file):
            assert event["event"] in found[event["meter"]], event
