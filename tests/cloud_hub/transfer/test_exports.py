"""What leaves as a file is exactly what the database holds, and what is unknown stays empty."""

import csv
import io
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet as pq
import pytest
from flask.testing import FlaskClient
from hub_factories import add_controller, add_meter, add_point, add_scans, add_site
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool
from transfer_factories import add_ledger_day, add_register_point, count_rows, import_text, stored_readings

from cloud_hub.energy.model import Cause, IntervalQuality, Method
from cloud_hub.registry.models import Point
from cloud_hub.transfer.csv_out import format_micro, local_stamps
from cloud_hub.transfer.targets import Target
from cloud_hub.transfer.windows import split_time
from cloud_hub.web.columns import harmless
from cloud_hub.work.compaction import compact
from protocol.quality import Quality

AUTUMN, SPRING = date(2026, 10, 25), date(2026, 3, 29)


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def fetch(client: FlaskClient, what: str, **query: Any) -> bytes:
    answer = client.get(f"/api/v1/export/{what}", query_string={"from": "2026-01-01", "to": "2027-01-01"} | query)
    assert answer.status_code == 200, answer.text
    content: bytes = answer.data
    answer.close()
    return content


def pool_of(engine: Engine) -> QueuePool:
    assert isinstance(engine.pool, QueuePool)
    return engine.pool


def table_of(content: bytes) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(content)).to_pylist()
    return rows


@pytest.fixture
def heater(session: Session) -> list[Point]:
    meter = add_meter(session, add_controller(session, add_site(session)), label="=cmd()")
    points = [add_point(session, meter), add_point(session, meter, "frequency", quantity="frequency", unit="Hz")]
    rows: list[list[Any]] = [[0.1, 50.0], [(None, Quality.TIMEOUT), (49.99, Quality.OUT_OF_RANGE)], [1e22, -0.1]]
    add_scans(session, meter, points, rows, start=datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC))
    session.commit()
    return points


@pytest.mark.usefixtures("heater")
def test_readings_as_csv_say_where_when_and_how_sure(client: FlaskClient) -> None:
    answer = client.get("/api/v1/export/readings?from=2026-10-25&to=2026-10-26")
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="readings-20261025-20261026.csv"'
    rows = rows_of(answer.data)
    answer.close()
    assert [(row["point"], row["observed_at"], row["value"], row["quality"]) for row in rows] == [
        ("active_power_total", "2026-10-25T00:59:59.000Z", "0.1", "good"),
        ("active_power_total", "2026-10-25T01:00:00.000Z", "", "timeout"),
        ("active_power_total", "2026-10-25T01:00:01.000Z", "1e+22", "good"),
        ("frequency", "2026-10-25T00:59:59.000Z", "50.0", "good"),
        ("frequency", "2026-10-25T01:00:00.000Z", "49.99", "out_of_range"),
        ("frequency", "2026-10-25T01:00:01.000Z", "-0.1", "good"),
    ]
    assert [row["local_time"] for row in rows[:2]] == [
        "2026-10-25T02:59:59.000+02:00",
        "2026-10-25T02:00:00.000+01:00",
    ]
    assert {row["meter_label"] for row in rows} == {"'=cmd()"}


@pytest.mark.usefixtures("heater")
def test_closed_days_are_exported_as_open_ones(client: FlaskClient, engine: Engine) -> None:
    open_days = fetch(client, "readings")
    compact(engine, datetime(2026, 12, 1, tzinfo=UTC))
    assert count_rows(engine, "scans") == [0]
    assert fetch(client, "readings") == open_days


@pytest.mark.usefixtures("heater")
def test_exported_readings_come_back_as_they_were(client: FlaskClient, engine: Engine, session: Session) -> None:
    content = fetch(client, "readings").decode()
    before = Counter(row[1:] for row in stored_readings(engine))
    add_site(session, "copy")
    session.commit()
    elsewhere = import_text(engine, content, target=Target(site="copy", creates=True))
    assert (elsewhere.new, elsewhere.rejected) == (6, 0)
    assert Counter(row[1:] for row in stored_readings(engine)) == before + before


@pytest.mark.usefixtures("heater")
def test_readings_as_parquet_are_the_same_numbers(client: FlaskClient, engine: Engine) -> None:
    rows = table_of(fetch(client, "readings", format="parquet"))
    stored = [(point, at, value) for _, point, at, value, _ in stored_readings(engine)]
    assert sorted((row["point"], row["observed_at"], row["value"]) for row in rows if row["value"] is not None) == [
        row for row in stored if row[2] is not None
    ]
    assert sum(row["value"] is None for row in rows) == 1
    assert {row["quality"] for row in rows} == {"good", "timeout", "out_of_range"}


def test_an_export_is_of_the_points_asked_for(client: FlaskClient, heater: list[Point]) -> None:
    assert {row["point"] for row in rows_of(fetch(client, "readings", point=heater[1].id))} == {"frequency"}
    assert len(rows_of(fetch(client, "readings", meter=heater[0].meter_id))) == 6
    assert len(rows_of(fetch(client, "readings", site="north", point_name="frequency"))) == 3
    assert len(rows_of(fetch(client, "readings", organisation="main"))) == 6
    one_second = {"from": "2026-10-25T01:00:00Z", "to": "2026-10-25T01:00:01Z"}
    assert len(rows_of(fetch(client, "readings", **one_second))) == 2


REFUSED = [
    ("readings?from=2026-01-01", 422, "to: is missing"),
    ("readings?from=2026-01-02&to=2026-01-02", 422, "is not after from"),
    ("readings?from=2026-01-02T00:00:00&to=2026-01-03", 422, "from: is no edge of a range: write a date"),
    ("readings?from=2026-01-01&to=2026-01-02&format=xls", 422, "format: input should be 'csv', 'parquet' or 'espi'"),
    ("prices?from=2026-01-01&to=2026-01-02", 404, ""),
    ("totals?from=2026-01-01&to=2026-01-02&step=week", 422, "step: input should be 'day' or 'month'"),
    ("totals?from=2026-01-01T00:00:00Z&to=2026-01-02", 422, "totals are of local days"),
    ("readings?from=2026-01-01&to=2026-01-02&format=espi", 422, "Green Button holds intervals"),
    ("readings?from=2026-01-01&to=2026-01-02&site=nowhere", 404, "there is no site 'nowhere'"),
    ("readings?from=2026-01-01&to=2026-01-02&organisation=none", 404, "there is no organisation 'none'"),
    ("readings?from=2026-01-01&to=2026-01-02&meter=99", 404, "there is no meter 99"),
    ("readings?from=2026-01-01&to=2026-01-02&point_name=ghost", 404, "no point answers"),
]


def test_what_cannot_be_exported_is_said_before_the_first_byte(client: FlaskClient, session: Session) -> None:
    add_register_point(session)
    session.commit()
    for query, status, said in REFUSED:
        answer = client.get(f"/api/v1/export/{query}")
        assert answer.status_code == status, query
        assert answer.json is not None
        assert said in answer.json["detail"], query


@pytest.mark.usefixtures("heater")
@pytest.mark.parametrize("is_read", [True, False], ids=["read to its end", "given up"])
def test_an_export_gives_its_connection_back(
    client: FlaskClient,
    session: Session,
    web_engine: Engine,
    is_read: bool,  # noqa: FBT001 - pytest gives it
) -> None:
    session.close()
    answer = client.get("/api/v1/export/readings?from=2026-10-25&to=2026-10-26")
    assert pool_of(web_engine).checkedout() == 1
    assert not is_read or answer.data
    answer.close()
    assert pool_of(web_engine).checkedout() == 0
    client.get("/api/v1/export/readings?from=2026-10-25&to=2026-10-26&site=nowhere")
    assert pool_of(web_engine).checkedout() == 0


def test_an_export_is_of_one_moment(client: FlaskClient, session: Session, heater: list[Point]) -> None:
    answer = client.get("/api/v1/export/readings?from=2026-10-25&to=2026-10-26")
    session.execute(text("DELETE FROM scans"))
    session.commit()
    assert len(rows_of(answer.data)) == 6, heater
    answer.close()


def test_nobody_exports_without_login(stranger: FlaskClient) -> None:
    assert stranger.get("/api/v1/export/readings?from=2026-01-01&to=2026-01-02").status_code == 401


@pytest.mark.parametrize(("day", "periods"), [(SPRING, 46), (AUTUMN, 50), (date(2026, 5, 1), 48)], ids=str)
def test_intervals_follow_the_local_day(client: FlaskClient, session: Session, day: date, periods: int) -> None:
    row = add_ledger_day(session, add_register_point(session), day)
    session.commit()
    rows = rows_of(fetch(client, "intervals"))
    assert [int(one["period"]) for one in rows] == list(range(1, periods + 1))
    assert {one["local_day"] for one in rows} == {str(day)}
    assert sum(Decimal(one["amount"]) for one in rows) == Decimal(row.total_micro) / 10**6
    assert rows[0]["local_start"].startswith(f"{day}T00:00:00.000+0")
    assert all(one["end_at"] == after["start_at"] for one, after in pairwise(rows))


def test_intervals_tell_their_quality_causes_and_method_and_a_missing_one_has_no_amount(
    client: FlaskClient, session: Session
) -> None:
    add_ledger_day(
        session,
        add_register_point(session),
        AUTUMN,
        qualities={1: IntervalQuality.ESTIMATED, 2: IntervalQuality.MISSING, 3: IntervalQuality.ABSENT},
        methods={1: Method.LINEAR},
        causes={1: Cause.GAP | Cause.ROLLOVER, 2: Cause.NO_DATA},
    )
    session.commit()
    rows = rows_of(fetch(client, "intervals"))
    assert len(rows) == 49
    told = [(one["amount"], one["quality"], one["causes"], one["method"]) for one in rows[:4]]
    assert told == [
        ("0.001", "measured", "", ""),
        ("0.002", "estimated", "gap|rollover", "linear"),
        ("", "missing", "no_data", ""),
        ("0.005", "measured", "", ""),
    ]
    parquet = table_of(fetch(client, "intervals", format="parquet"))
    assert [one["amount"] for one in parquet[:4]] == [Decimal("0.001"), Decimal("0.002"), None, Decimal("0.005")]
    assert parquet[0]["start_at"] == datetime(2026, 10, 24, 22, tzinfo=UTC)


def test_what_was_not_known_then_is_not_in_what_was_known_then(client: FlaskClient, session: Session) -> None:
    add_ledger_day(session, add_register_point(session), AUTUMN)
    session.commit()
    assert len(rows_of(fetch(client, "intervals", as_known_at="2026-11-02T00:00:00Z"))) == 50
    assert rows_of(fetch(client, "intervals", as_known_at="2026-10-30T00:00:00Z")) == []


def test_totals_by_day_and_by_month_add_up_and_tell_their_parts(client: FlaskClient, session: Session) -> None:
    point = add_register_point(session)
    days = [date(2026, 10, 30) + timedelta(days=n) for n in range(4)]
    for day in days:
        add_ledger_day(session, point, day, qualities={0: IntervalQuality.ESTIMATED, 1: IntervalQuality.MISSING})
    session.commit()
    by_day = rows_of(fetch(client, "totals"))
    assert [row["from_day"] for row in by_day] == [str(day) for day in days]
    assert [row["amount"] for row in by_day] == ["1.174"] * 4
    assert [(row["estimated"], row["measured"], row["missing_intervals"]) for row in by_day] == [
        ("0.001", "1.173", "1")
    ] * 4
    assert {row["completeness"] for row in by_day} == {"0.979"}
    by_month = rows_of(fetch(client, "totals", step="month"))
    assert [(row["from_day"], row["amount"], row["intervals"]) for row in by_month] == [
        ("2026-10-01", "2.348", "96"),
        ("2026-11-01", "2.348", "96"),
    ]


def test_a_day_of_which_nothing_is_known_has_no_amount_rather_than_zero(client: FlaskClient, session: Session) -> None:
    qualities = dict.fromkeys(range(48), IntervalQuality.MISSING)
    add_ledger_day(session, add_register_point(session), date(2026, 5, 1), qualities=qualities)
    session.commit()
    assert [row["amount"] for row in rows_of(fetch(client, "totals"))] == [""]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum", "\tx", "\rx", "|calc", "%x"])
def test_a_text_that_a_spreadsheet_would_run_is_led_by_an_apostrophe(text: str) -> None:
    assert harmless(text) == f"'{text}"
    assert harmless(f"a{text}") == f"a{text}"


@pytest.mark.parametrize(
    ("micro", "text"),
    [(0, "0"), (1, "0.000001"), (-1_500_000, "-1.5"), (2**63 - 1, "9223372036854.775807"), (1_000_000, "1")],
)
def test_amounts_are_written_exactly(micro: int, text: str) -> None:
    assert format_micro(micro) == text


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "Australia/Lord_Howe", "America/Los_Angeles", "Europe/Berlin"])
def test_local_stamps_are_those_of_the_zone(zone: str) -> None:
    instants = [datetime(2026, month, 25, 0, 59, 59, 500_000, tzinfo=UTC) for month in range(1, 13)]
    ms = np.array([int(instant.timestamp() * 1000) for instant in instants], dtype=np.int64)
    expected = [instant.astimezone(ZoneInfo(zone)).isoformat(timespec="milliseconds") for instant in instants]
    assert local_stamps(ms, ZoneInfo(zone)) == expected


@pytest.mark.parametrize(("period_s", "points"), [(1, 20), (1800, 6), (0.001, 1_000), (86_400, 1)])
def test_stretches_of_time_cover_the_range_once_and_are_bounded(period_s: float, points: int) -> None:
    start, end = 1_700_000_000_123, 1_702_000_000_456
    stretches = list(split_time(start, end, period_s, points))
    assert stretches[0][0] == start
    assert stretches[-1][1] == end
    assert all(one[1] == after[0] for one, after in pairwise(stretches))
    assert max(until - at for at, until in stretches) <= max(3_600_000, 200_000 * period_s * 1000 / points)
