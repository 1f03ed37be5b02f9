import re
from datetime import UTC, datetime, timedelta

import pytest
from energy_page_factories import send, table_rows, words
from flask.testing import FlaskClient
from hub_factories import add_controller, add_meter, add_point, add_site
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from cloud_hub.ledger.models import LedgerEdit, MeterExchange, RegisterRecord, SuspectSpan
from cloud_hub.ledger.recompute import recompute_all
from cloud_hub.registry.models import Meter, Point
from demo.example_month import ExampleMonth, add_example_month

NOW = datetime(2025, 11, 1, tzinfo=UTC)


@pytest.fixture
def month(engine: Engine) -> ExampleMonth:
    return add_example_month(engine)


@pytest.fixture
def counter(session: Session) -> Point:
    """A register that has not been read yet."""
    counter = add_counter(session)
    session.commit()
    return counter


def add_counter(session: Session, slug: str = "north") -> Point:
    meter = add_meter(session, add_controller(session, add_site(session, slug), f"{slug}-1"))
    name = "energy_active_import_total"
    return add_point(session, meter, name, quantity="active_energy", unit="Wh", kind="counter")


def day_page(client: FlaskClient, point_id: int, day: str, known: str = "") -> str:
    answer = client.get(f"/points/{point_id}/ledger", query_string={"day": day, **({"known": known} if known else {})})
    assert answer.status_code == 200
    return answer.text


def test_a_day_is_told_interval_by_interval(client: FlaskClient, month: ExampleMonth) -> None:
    page = day_page(client, month.grid_point_id, "2025-10-09")
    rows = table_rows(page, "ledger")
    assert len(rows) == 48
    assert rows[0][:3] == ["1", "00:00 CEST to 00:30 CEST", "22:00 to 22:30"]
    assert rows[0][4].startswith("estimated shaped like the same hours of like days; readings too far apart")
    assert "register says" in rows[0][3]
    assert rows[47][4] == "measured"
    assert rows[47][5] == "100 %"
    assert "estimated in part" in words(page)


def test_what_is_missing_has_no_amount(client: FlaskClient, month: ExampleMonth) -> None:
    page = day_page(client, month.grid_point_id, "2025-10-16")
    rows = table_rows(page, "ledger")
    assert rows[0][3].startswith("\N{EN DASH}")
    assert rows[0][4].startswith("missing")
    assert "The register was reset" in words(page)


def test_a_day_on_which_the_clock_changes_has_all_its_intervals(client: FlaskClient, month: ExampleMonth) -> None:
    page = day_page(client, month.oven_point_id, "2025-10-26")
    rows = table_rows(page, "ledger")
    assert len(rows) == 50
    assert [row[1] for row in rows[4:7]] == [
        "02:00 CEST to 02:30 CEST",
        "02:30 CEST to 02:00 CET",
        "02:00 CET to 02:30 CET",
    ]
    assert "it has 25 hours and 50 intervals of 30 minutes" in words(page)
    spring = table_rows(day_page(client, month.oven_point_id, "2026-03-29"), "ledger")
    assert len(spring) == 46
    assert {row[4] for row in spring} == {"not expected"}


def test_what_was_known_before_is_told_beside_and_by_itself(client: FlaskClient, month: ExampleMonth) -> None:
    page = day_page(client, month.grid_point_id, "2025-10-21")
    row = table_rows(page, "ledger")[24]
    assert row[3].startswith("5.250 register says")
    assert row[4].startswith("edited typed in by a person; edited by hand 1 older version")
    long_ago = day_page(client, month.grid_point_id, "2025-10-21", known="2025-10-22T12:00")
    assert "This is what was known at 22 Oct 2025, 12:00 CEST" in words(long_ago)
    rows = table_rows(long_ago, "ledger")
    assert all(row[4].startswith("not known then 1 older version") for row in rows[24:30])
    assert {row[5] for row in rows} == {""}


def test_an_edit_is_put_in_place_and_undone(
    client: FlaskClient, session: Session, engine: Engine, month: ExampleMonth
) -> None:
    page = day_page(client, month.oven_point_id, "2025-10-14")
    borders = re.findall(r'<option value="(\d+)"', page)
    fields = {"from": borders[0], "to": borders[3], "amount": "1.5", "why": "read by hand", "day": "2025-10-14"}
    answer = send(client, month.oven_point_id, "edit", **fields)
    assert answer.status_code == 303
    page = client.get(answer.headers["Location"]).text
    assert "The amount is put in place." in words(page)
    assert "is being worked in" in words(page)
    recompute_all(engine, NOW)
    page = day_page(client, month.oven_point_id, "2025-10-14")
    assert "is being worked in" not in words(page)
    rows = table_rows(page, "ledger")
    assert [row[4].split()[0] for row in rows[:4]] == ["edited", "edited", "edited", "measured"]
    edit = session.scalars(select(LedgerEdit).where(LedgerEdit.point_id == month.oven_point_id)).one()
    assert (edit.amount_micro, edit.made_by, edit.why) == (1_500_000_000, "ann@example.org", "read by hand")
    assert send(client, month.oven_point_id, "undo", item=str(edit.id), why="misread").status_code == 303
    recompute_all(engine, NOW)
    page = day_page(client, month.oven_point_id, "2025-10-14")
    assert {row[4].split()[0] for row in table_rows(page, "ledger")} == {"measured"}
    assert "undone by ann@example.org" in words(page)


@pytest.mark.parametrize(
    ("action", "fields", "sentence"),
    [
        pytest.param("edit", {"from": "0", "to": "0", "amount": "1", "why": "x"}, "The end is not after", id="no-span"),
        pytest.param("edit", {"from": "x", "to": "0", "amount": "1", "why": "x"}, "From is 'x'", id="no-time"),
        pytest.param(
            "edit",
            {"from": "1760392800000", "to": "1760394600000", "amount": "1,5", "why": "by hand"},
            "The amount is '1,5': write it with a decimal point",
            id="comma",
        ),
        pytest.param(
            "edit",
            {"from": "1760392800000", "to": "1760394600000", "amount": "1.5", "why": " "},
            "The reason is empty",
            id="no-reason",
        ),
        pytest.param(
            "exchange",
            {"at": "2025-10-26T02:30", "closing": "5", "opening": "0", "why": "worn"},
            "which the clock showed twice: choose which of the two",
            id="shown-twice",
        ),
        pytest.param(
            "exchange",
            {"at": "2025-10-14T02:30", "closing": "", "opening": "0", "why": "worn"},
            "The closing reading is empty",
            id="no-reading",
        ),
        pytest.param("register", {"why": "worn"}, "Nothing is to change", id="no-correction"),
        pytest.param("register", {"scale": "-1", "why": "worn"}, "scale is -1: send a number above 0", id="scale"),
    ],
)
def test_a_refused_form_says_why_in_one_sentence_and_keeps_what_was_typed(
    client: FlaskClient, counter: Point, action: str, fields: dict[str, str], sentence: str
) -> None:
    answer = send(client, counter.id, action, day="2025-10-14", **fields)
    assert answer.status_code == 422
    text = words(answer.text)
    assert text.count(sentence) == 1
    assert "Tue 14 Oct 2025" in text
    assert answer.text.count('role="alert"') == 1
    typed = [value for name, value in fields.items() if name not in {"from", "to"} and value.strip()]
    assert all(f'value="{value}"' in answer.text for value in typed)


def test_a_time_that_came_twice_is_asked_for_and_then_taken(
    client: FlaskClient, session: Session, counter: Point
) -> None:
    fields = {"at": "2025-10-26T02:30", "closing": "1870.5", "opening": "0", "why": "worn"}
    assert '<select name="pass"' in send(client, counter.id, "exchange", **fields).text
    assert send(client, counter.id, "exchange", **fields, **{"pass": "second"}).status_code == 303
    exchange = session.scalars(select(MeterExchange)).one()
    assert exchange.at == datetime(2025, 10, 26, 1, 30, tzinfo=UTC)
    assert exchange.closing == 1_870_500
    assert exchange.opening == 0


def test_an_exchange_is_listed_and_withdrawn(client: FlaskClient, session: Session, counter: Point) -> None:
    fields = {"at": "2025-10-27T10:00", "closing": "1943.015", "opening": "0", "why": "display was dark"}
    assert send(client, counter.id, "exchange", **fields).status_code == 303
    text = words(day_page(client, counter.id, "2025-10-27"))
    assert "27 Oct 2025, 10:00 CET : old register ended at 1,943.015 kWh, new began at 0 kWh" in text
    exchange = session.scalars(select(MeterExchange)).one()
    assert send(client, counter.id, "withdraw", item=str(exchange.id)).status_code == 303
    text = words(day_page(client, counter.id, "2025-10-27"))
    assert "withdrawn by ann@example.org" in text
    again = send(client, counter.id, "withdraw", item=str(exchange.id))
    assert again.status_code == 422
    assert "was withdrawn already, by ann@example.org" in words(again.text)


def test_a_register_is_corrected_from_a_date_on(client: FlaskClient, session: Session, counter: Point) -> None:
    fields = {"scale": "2", "rollover": "100000", "valid_from": "2025-10-10T00:00", "why": "transformer 200:100"}
    assert send(client, counter.id, "register", **fields).status_code == 303
    query = select(RegisterRecord).where(RegisterRecord.point_id == counter.id, RegisterRecord.withdrawn_at.is_(None))
    records = list(session.scalars(query.order_by(RegisterRecord.valid_from.asc().nulls_first())))
    assert [record.scale for record in records] == [1, 2]
    assert records[1].valid_from == datetime(2025, 10, 9, 22, tzinfo=UTC)
    assert records[1].rollover == 100_000_000
    text = words(day_page(client, counter.id, "2025-10-10"))
    assert "scale 2, begins again at 0 after 100,000 kWh" in text
    assert "transformer 200:100" in text


def test_readings_that_wait_are_judged_from_the_page(client: FlaskClient, session: Session, counter: Point) -> None:
    ahead = datetime(2031, 1, 1, tzinfo=UTC)
    span = SuspectSpan(
        meter_id=counter.meter_id, from_at=ahead, to_at=ahead + timedelta(hours=1), reason="future", readings=3
    )
    other = add_counter(session, "other")
    session.add(span)
    session.commit()
    text = words(day_page(client, counter.id, "2025-10-10"))
    assert "Readings that wait for a judgement 3 readings, ahead of the hub's clock" in text
    refused = send(client, other.id, "suspect", item=str(span.id), resolution="discarded")
    assert refused.status_code == 422
    assert "These readings are not of this meter" in words(refused.text)
    done = send(client, counter.id, "suspect", item=str(span.id), resolution="discarded")
    assert done.status_code == 303
    session.refresh(span)
    assert (span.resolution, span.resolved_by) == ("discarded", "ann@example.org")


def test_a_form_without_its_token_changes_nothing(client: FlaskClient, session: Session, counter: Point) -> None:
    fields = {"at": "2025-10-27T10:00", "closing": "5", "opening": "0", "why": "worn"}
    assert client.post(f"/points/{counter.id}/ledger/exchange", data=fields).status_code == 400
    assert session.scalars(select(MeterExchange)).all() == []


def test_an_edit_of_another_register_is_not_undone(client: FlaskClient, session: Session, counter: Point) -> None:
    start = datetime(2025, 10, 14, tzinfo=UTC)
    other = add_counter(session, "other")
    edit = LedgerEdit(
        point_id=other.id, from_at=start, to_at=start + timedelta(hours=1), amount_micro=1, made_by="ann", why="read"
    )
    session.add(edit)
    session.commit()
    answer = send(client, counter.id, "undo", item=str(edit.id), why="misread")
    assert answer.status_code == 422
    assert "This register has no such edit" in words(answer.text)
    session.refresh(edit)
    assert edit.undone_at is None


def test_a_point_without_ledger_and_an_impossible_day_are_refused(client: FlaskClient, session: Session) -> None:
    counter = add_counter(session)
    gauge = add_point(session, session.get_one(Meter, counter.meter_id))
    session.commit()
    answer = client.get(f"/points/{gauge.id}/ledger")
    assert answer.status_code == 404
    assert "is no counter" in words(answer.text)
    assert client.get("/points/999/ledger").status_code == 404
    refused = client.get(f"/points/{counter.id}/ledger?day=tomorrow")
    assert refused.status_code == 422
    assert "The day is 'tomorrow'" in words(refused.text)
