"""What people say of registers changes the ledger, and never what it said before."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from ledger_factories import (
    HALF_HOUR,
    MONDAY,
    Counted,
    add_counted,
    amounts,
    climb,
    count_rows,
    quality_names,
    read,
    recompute,
    store,
)
from sqlalchemy import Engine, select, text, update
from sqlalchemy.orm import Session

from cloud_hub.audit.models import AuditEvent
from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.energy.model import Cause
from cloud_hub.errors import Conflict, HubError, Invalid
from cloud_hub.ledger.commissioning import set_commissioned
from cloud_hub.ledger.dirty import mark
from cloud_hub.ledger.edits import make_edit, undo_edit
from cloud_hub.ledger.exchanges import record_exchange, withdraw_exchange
from cloud_hub.ledger.findings import list_findings
from cloud_hub.ledger.models import RegisterRecord, SuspectSpan
from cloud_hub.ledger.rebuild import rebuild_meters
from cloud_hub.ledger.registers import correct_register, list_registers
from cloud_hub.ledger.suspects import Resolution, resolve_suspect
from cloud_hub.ledger.versions import read_ledger
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.models import Site

WHO = "ann@example.org"
TUESDAY = MONDAY + timedelta(days=1)


def add_day(engine: Engine, days: int = 1) -> Counted:
    """Add a meter with whole days in the ledger, 100 Wh in each half hour."""
    counted = add_counted(engine)
    store(engine, counted, climb(MONDAY, 48 * days + 1))
    recompute(engine, MONDAY + timedelta(days=days))
    return counted


def server_clock(engine: Engine) -> datetime:
    with engine.connect() as connection:
        instant: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return instant


def actions(engine: Engine) -> list[str]:
    with Session(engine) as session:
        return list(session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)))


def finding_kinds(engine: Engine, counted: Counted) -> list[str]:
    with Session(engine) as session:
        far = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
        return [finding.kind for finding in list_findings(session, counted.point_id, *far)]


def test_a_wrong_scale_found_after_a_month_is_corrected_and_the_old_version_stays(engine: Engine) -> None:
    counted = add_day(engine, days=31)
    first, last = MONDAY.date(), (MONDAY + timedelta(days=30)).date()
    before = server_clock(engine)
    since = MONDAY + timedelta(days=10)

    with Session(engine) as session, session.begin():
        correct_register(
            session,
            counted.point_id,
            valid_from=since,
            scale=Decimal("0.1"),
            who=WHO,
            why="transformer 100/5, not 1000/5",
        )
    recompute(engine, MONDAY + timedelta(days=31))

    assert amounts(read(engine, counted, first, last)) == [100] * 480 + [10] * (21 * 48)
    assert amounts(read(engine, counted, first, last, known=before)) == [100] * (31 * 48)
    with engine.connect() as connection:
        total = connection.execute(text("SELECT total_micro FROM ledger_months")).scalars().all()
    assert sum(total) == (480 * 100 + 21 * 48 * 10) * 1_000_000
    with Session(engine) as session:
        now = [(one.valid_from, one.scale) for one in list_registers(session, [counted.point_id])]
        ever = session.scalars(select(RegisterRecord)).all()
    assert now == [(None, 1), (since, Decimal("0.1"))]
    assert len(ever) == 3  # the one that the profile gave is withdrawn, and there
    assert actions(engine) == ["register_corrected"]


def test_an_exchange_that_is_entered_later_closes_the_account(engine: Engine) -> None:
    counted = add_counted(engine)
    old = climb(MONDAY, 20)
    at = MONDAY + 20 * HALF_HOUR
    new = climb(at + HALF_HOUR, 28, first=7.0)
    store(engine, counted, old + new)
    recompute(engine, TUESDAY)
    assert "partial" in quality_names(read(engine, counted, MONDAY.date()))

    with Session(engine) as session, session.begin():
        exchange_id = record_exchange(
            session, counted.point_id, at=at, closing=Decimal(3000), opening=Decimal(2), who=WHO, why="seal broken"
        ).id
    recompute(engine, TUESDAY)

    day = read(engine, counted, MONDAY.date())
    assert sum(amounts(day)) == 2000 + 5 + 27 * 100
    assert "partial" not in quality_names(day)[:-1]
    assert "meter_exchange" in finding_kinds(engine, counted)

    with Session(engine) as session, session.begin():
        withdraw_exchange(session, exchange_id, who=WHO)
    recompute(engine, TUESDAY)
    assert "partial" in quality_names(read(engine, counted, MONDAY.date()))[:-1]
    assert actions(engine) == ["exchange_recorded", "exchange_withdrawn"]


def test_an_edit_stands_until_it_is_undone(engine: Engine) -> None:
    counted = add_day(engine)
    start = MONDAY + 4 * HALF_HOUR

    with Session(engine) as session, session.begin():
        edit_id = make_edit(
            session,
            counted.point_id,
            start=start,
            end=start + 3 * HALF_HOUR,
            amount=Decimal("0.5"),
            who=WHO,
            why="test run",
        ).id
    recompute(engine, TUESDAY)
    edited = read(engine, counted, MONDAY.date())
    assert quality_names(edited)[4:7] == ["edited"] * 3
    assert sum(edited.amounts_micro[4:7].tolist()) == 500_000
    assert edited.registered_micro[4:7].tolist() == [100_000_000] * 3
    with engine.connect() as connection:
        assert connection.execute(text("SELECT edited_micro FROM ledger_months")).scalar_one() == 500_000

    with Session(engine) as session, session.begin():
        undo_edit(session, edit_id, who=WHO, why="it was no test")
    recompute(engine, TUESDAY)

    assert amounts(read(engine, counted, MONDAY.date())) == [100] * 48
    assert actions(engine) == ["edit_made", "edit_undone"]


def edit_badly(
    session: Session, counted: Counted, *, start: datetime = MONDAY, amount: str = "1", why: str = "x"
) -> object:
    return make_edit(
        session, counted.point_id, start=start, end=MONDAY + HALF_HOUR, amount=Decimal(amount), who=WHO, why=why
    )


@pytest.mark.parametrize(
    ("attempt", "kind", "says"),
    [
        pytest.param(
            lambda s, c: edit_badly(s, c, start=MONDAY + timedelta(minutes=7)), Invalid, "no border", id="no border"
        ),
        pytest.param(lambda s, c: edit_badly(s, c, amount="0.0000001"), Invalid, "6 decimals", id="too fine"),
        pytest.param(lambda s, c: edit_badly(s, c, amount="NaN"), Invalid, "send a number", id="no number"),
        pytest.param(lambda s, c: edit_badly(s, c, why=" "), Invalid, "why is empty", id="no reason"),
        pytest.param(lambda s, c: [edit_badly(s, c) for _ in range(2)], Conflict, "undo it first", id="overlap"),
        pytest.param(
            lambda s, c: correct_register(s, c.point_id, valid_from=None, who=WHO, why="x", scale=Decimal(0)),
            Invalid,
            "above 0",
            id="scale 0",
        ),
        pytest.param(
            lambda s, c: correct_register(s, c.point_id, valid_from=None, who=WHO, why="x"),
            Invalid,
            "nothing is to change",
            id="no change",
        ),
        pytest.param(
            lambda s, c: correct_register(s, c.point_id, valid_from=MONDAY, who=WHO, why="x", unit="kWh"),
            Invalid,
            "sums have one unit",
            id="unit for a while",
        ),
    ],
)
def test_a_correction_that_cannot_be_is_refused_with_its_remedy(
    engine: Engine, attempt: Callable[[Session, Counted], object], kind: type[HubError], says: str
) -> None:
    counted = add_counted(engine)
    with Session(engine) as session, pytest.raises(kind, match=says):
        attempt(session, counted)


def test_readings_from_the_future_count_when_a_person_has_said_so(engine: Engine) -> None:
    counted = add_counted(engine)
    now = MONDAY + timedelta(hours=12)
    store(engine, counted, climb(MONDAY, 24), now=now)
    ahead = climb(MONDAY + timedelta(hours=20), 2, first=5040.0)
    store(engine, counted, ahead, now=now)
    recompute(engine, now)
    assert finding_kinds(engine, counted) == ["future"]

    honest = [(at, value) for at, value in climb(MONDAY, 49)[24:] if at not in dict(ahead)]
    store(engine, counted, honest, now=TUESDAY)
    recompute(engine, TUESDAY)
    day = read(engine, counted, MONDAY.date())
    assert amounts(day) == [100] * 48  # as if the two were not there
    assert any(causes & Cause.SUSPECT for causes in day.causes.tolist())

    with Session(engine) as session, session.begin():
        span = session.scalars(select(SuspectSpan)).one()
        span_id = span.id
        assert (span.readings, span.reason) == (2, "future")
        resolve_suspect(session, span_id, Resolution.ACCEPTED, who=WHO)
    recompute(engine, TUESDAY)
    assert amounts(read(engine, counted, MONDAY.date())) != [100] * 48
    assert "future" not in finding_kinds(engine, counted)

    with Session(engine) as session, pytest.raises(Conflict, match="accepted already"):
        resolve_suspect(session, span_id, Resolution.DISCARDED, who=WHO)


def test_discarded_readings_are_kept_and_never_count(engine: Engine) -> None:
    counted = add_counted(engine)
    now = MONDAY + timedelta(hours=12)
    store(engine, counted, [*climb(MONDAY, 24), (TUESDAY, 9e6)], now=now)
    with Session(engine) as session, session.begin():
        span = session.scalars(select(SuspectSpan)).one()
        resolve_suspect(session, span.id, Resolution.DISCARDED, who=WHO)
    store(engine, counted, climb(MONDAY, 60)[24:], now=TUESDAY + timedelta(hours=6))

    recompute(engine, TUESDAY + timedelta(hours=6))

    assert amounts(read(engine, counted, MONDAY.date())) == [100] * 48
    assert count_rows(engine, "scans") == 61


def test_readings_from_before_commissioning_are_kept_and_named(engine: Engine) -> None:
    counted = add_day(engine)
    before = server_clock(engine)
    noon = MONDAY + timedelta(hours=12)

    with Session(engine) as session, session.begin():
        set_commissioned(session, counted.meter_id, noon, who=WHO)
    recompute(engine, TUESDAY)

    day = read(engine, counted, MONDAY.date())
    assert amounts(day) == [100] * 24
    assert day.start_ms[0] == noon.timestamp() * 1000
    assert finding_kinds(engine, counted) == ["before_commissioning"]
    assert len(read(engine, counted, MONDAY.date(), known=before)) == 48

    with Session(engine) as session, session.begin():
        set_commissioned(session, counted.meter_id, None, who=WHO)
    recompute(engine, TUESDAY)
    assert amounts(read(engine, counted, MONDAY.date())) == [100] * 48
    assert finding_kinds(engine, counted) == []


def test_another_time_zone_lays_the_days_out_anew_and_the_old_ones_stay_known(engine: Engine) -> None:
    counted = add_day(engine, days=3)
    before = server_clock(engine)

    with Session(engine) as session, session.begin():
        session.execute(update(Site).values(time_zone="Asia/Kathmandu"))
        rebuild_meters(session, [counted.meter_id])
    recompute(engine, MONDAY + timedelta(days=3))

    day = read(engine, counted, TUESDAY.date())
    assert day.start_ms[0] == (TUESDAY - timedelta(hours=5, minutes=45)).timestamp() * 1000
    assert sum(amounts(day)) == 4800
    with Session(engine) as session:
        first, last = (MONDAY - timedelta(days=1)).date(), (MONDAY + timedelta(days=4)).date()
        then = read_ledger(session, [counted.point_id], first, last, before)[counted.point_id]
    assert len(then) == 3 * 48
    assert set(amounts(then)) == {100}


@pytest.mark.parametrize("changes_zone", [False, True], ids=["late reading", "another time zone"])
def test_days_whose_readings_are_no_longer_kept_stay_as_they_are(engine: Engine, changes_zone: bool) -> None:  # noqa: FBT001 - parametrised
    counted = add_day(engine, days=12)
    dropped_before = MONDAY + timedelta(days=6)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM scans WHERE observed_at < :end"), {"end": dropped_before})
        connection.execute(update(Organisation).values(readings_from=dropped_before.date()))
        mark(connection, [(counted.meter_id, 0, ms_of_instant(MONDAY + timedelta(days=12)))])
    if changes_zone:
        with Session(engine) as session, session.begin():
            session.execute(update(Site).values(time_zone="Asia/Kathmandu"))
            rebuild_meters(session, [counted.meter_id])
    recompute(engine, MONDAY + timedelta(days=12))

    kept = read(engine, counted, MONDAY.date(), (dropped_before + timedelta(days=3)).date())
    assert amounts(kept) == [100] * 48 * 10
    assert set(quality_names(kept)) == {"measured"}
