"""The ledger over HTTP: exact amounts, every change audited under the user's name, every refusal one sentence."""

from datetime import timedelta
from decimal import Decimal
from typing import Any, get_args

import pyarrow as pa
import pytest
from browsing import EMAIL, counted_queries
from flask.testing import FlaskClient
from ledger_factories import HALF_HOUR, MONDAY, Counted, add_counted, climb, recompute, store
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from cloud_hub.audit.models import AuditEvent
from cloud_hub.energy.model import IntervalQuality, Method
from cloud_hub.ledger.models import SuspectSpan
from cloud_hub.ledger.schemas import IntervalQualityName, IntervalsField, MethodName

DAY = "from=2026-03-02T00:00:00Z&to=2026-03-03T00:00:00Z"


@pytest.fixture
def counted(engine: Engine) -> Counted:
    """Give a meter with a day of 100.25 Wh each half hour."""
    counted = add_counted(engine)
    store(engine, counted, climb(MONDAY, 49, rise=100.25), now=MONDAY + timedelta(hours=25))
    recompute(engine, MONDAY + timedelta(days=1))
    return counted


def post(client: FlaskClient, address: str, body: dict[str, Any] | None = None) -> TestResponse:
    client.get("/")  # a page with a form draws the token
    with client.session_transaction() as cookie:
        token = cookie["csrf"]
    return client.post(f"/api/v1/{address}", json=body, headers={"X-CSRF-Token": token})


def get(client: FlaskClient, address: str) -> Any:
    answer = client.get(f"/api/v1/{address}")
    assert answer.status_code == 200, answer.text
    return answer.json


def test_intervals_come_as_columns_with_exact_amounts(client: FlaskClient, counted: Counted) -> None:
    answer = get(client, f"points/{counted.point_id}/intervals?{DAY}")

    assert answer["unit"] == "Wh"
    assert answer["amount"] == ["100.25"] * 48
    assert answer["quality"] == ["measured"] * 48
    assert answer["completeness"] == [1.0] * 48
    assert answer["end"][0] - answer["start"][0] == 1_800_000
    assert {len(column) for column in answer.values() if isinstance(column, list)} == {48}


def test_intervals_are_a_file_for_who_asks_for_one(client: FlaskClient, counted: Counted) -> None:
    path = f"/api/v1/points/{counted.point_id}/intervals?{DAY}"
    lines = client.get(f"{path}&fields=start,amount,quality,causes&format=csv").text.splitlines()
    assert len(lines) == 49
    assert lines[:2] == ["start,amount,quality,causes", "2026-03-02T00:00:00.000Z,100.25,measured,"]

    arrow = client.get(path, headers={"Accept": "application/vnd.apache.arrow.stream"})
    table: Any = pa.ipc.open_stream(arrow.data).read_all()
    assert table["amount"].to_pylist() == [Decimal("100.250000")] * 48
    assert table["start"].to_pylist()[0] == MONDAY
    assert table.schema.metadata[b"unit"] == b"Wh"
    assert table.column_names == [*IntervalsField]


def test_intervals_have_the_fields_that_were_asked_for(client: FlaskClient, counted: Counted) -> None:
    path = f"points/{counted.point_id}/intervals?{DAY}"
    assert get(client, f"{path}&fields=start,amount").keys() == {"point_id", "unit", "start", "amount"}
    refused = client.get(f"/api/v1/{path}&fields=start,price")
    assert refused.status_code == 422
    assert "fields: 1: input should be 'start', 'end', 'amount'" in refused.text


def test_the_words_of_qualities_and_methods_are_those_of_the_arithmetic() -> None:
    assert set(get_args(IntervalQualityName)) == {code.name.lower() for code in IntervalQuality} - {"absent"}
    assert set(get_args(MethodName)) == {code.name.lower() for code in Method}


def test_what_was_known_before_there_was_anything_is_nothing(client: FlaskClient, counted: Counted) -> None:
    answer = get(client, f"points/{counted.point_id}/intervals?{DAY}&as_known_at=2020-01-01T00:00:00Z")

    assert answer["amount"] == []


def test_days_and_months_are_local(client: FlaskClient, counted: Counted) -> None:
    days = get(client, f"points/{counted.point_id}/days?from=2026-03-01&to=2026-03-04")
    months = get(client, f"points/{counted.point_id}/months?from=2026-01-01&to=2027-01-01")

    assert [(day["first_day"], day["amount"], day["completeness"]) for day in days["items"]] == [
        ("2026-03-02", "4812", 1)
    ]
    assert [(month["first_day"], month["amount"], month["parts"]) for month in months["items"]] == [
        ("2026-03-01", "4812", 1)
    ]


def test_an_edit_is_made_shown_and_undone(client: FlaskClient, engine: Engine, counted: Counted) -> None:
    body = {"from": "2026-03-02T02:00:00Z", "to": "2026-03-02T03:00:00Z", "amount": "0.1", "why": "a test"}
    made = post(client, f"points/{counted.point_id}/edits", body)
    assert made.status_code == 201, made.text
    recompute(engine, MONDAY + timedelta(days=1))

    versions = get(client, f"points/{counted.point_id}/intervals/versions?at=2026-03-02T02:10:00Z")
    assert [(item["quality"], item["amount"]) for item in versions["items"]] == [
        ("measured", "100.25"),
        ("edited", "0.05"),
    ]
    assert versions["items"][0]["known_until"] is not None

    assert made.json is not None
    assert post(client, f"edits/{made.json['id']}/undo", {"why": "done"}).status_code == 200
    shown = get(client, f"points/{counted.point_id}/edits")["items"]
    assert [(item["made_by"], item["undone_by"], item["amount"]) for item in shown] == [(EMAIL, EMAIL, "0.1")]
    with Session(engine) as session:
        assert session.scalars(select(AuditEvent.who).distinct()).all() == [EMAIL]


def test_registers_are_shown_corrected_and_exchanged(client: FlaskClient, counted: Counted) -> None:
    registers = get(client, f"points/{counted.point_id}/registers")["items"]
    assert [(item["scale"], item["is_total"], item["recorded_by"]) for item in registers] == [("1", True, "profile")]

    correction = {"valid_from": "2026-03-02T12:00:00Z", "scale": "0.1", "why": "wrong transformer"}
    assert post(client, f"points/{counted.point_id}/registers", correction).status_code == 201
    exchange = {"at": "2026-03-02T13:00:00Z", "closing": "3606.5", "opening": "0", "why": ""}
    done = post(client, f"points/{counted.point_id}/exchanges", exchange)
    assert done.status_code == 201, done.text

    scales = [item["scale"] for item in get(client, f"points/{counted.point_id}/registers")["items"]]
    assert scales == ["1", "0.1"]
    assert done.json is not None
    assert post(client, f"exchanges/{done.json['id']}/withdraw").status_code == 200
    shown = get(client, f"points/{counted.point_id}/exchanges")["items"]
    assert [item["withdrawn_by"] for item in shown] == [EMAIL]


def test_suspect_readings_are_listed_and_judged(client: FlaskClient, engine: Engine, counted: Counted) -> None:
    store(engine, counted, climb(MONDAY + timedelta(days=9), 3), now=MONDAY)

    items = get(client, f"suspects?meter={counted.meter_id}")["items"]
    assert [(item["readings"], item["reason"], item["from"]) for item in items] == [
        (3, "future", "2026-03-11T00:00:00Z")
    ]
    assert post(client, f"suspects/{items[0]['id']}/resolve", {"resolution": "discarded"}).status_code == 200

    assert get(client, "suspects")["items"] == []


def test_suspects_are_narrowed_and_ask_as_many_queries_for_many(
    client: FlaskClient, engine: Engine, web_engine: Engine, counted: Counted
) -> None:
    other = add_counted(engine, "south")
    with Session(engine) as session:
        spans = {"from_at": MONDAY, "to_at": MONDAY, "reason": "future", "readings": 1}
        session.add_all(SuspectSpan(meter_id=each.meter_id, **spans) for each in (counted, other, other, other))
        session.commit()
    with counted_queries(web_engine) as few:
        assert len(get(client, "suspects?site=north")["items"]) == 1
    with counted_queries(web_engine) as many:
        assert {item["meter_id"] for item in get(client, "suspects?site=south")["items"]} == {other.meter_id}
    assert len(few) == len(many)
    assert len(get(client, "suspects?organisation=main&limit=2")["items"]) == 2


def test_findings_carry_their_names(client: FlaskClient, engine: Engine, counted: Counted) -> None:
    late = MONDAY + timedelta(days=1) + 10 * HALF_HOUR
    store(engine, counted, climb(late, 3, first=9000), now=late + timedelta(hours=3))
    recompute(engine, late + timedelta(hours=1))

    found = get(client, f"points/{counted.point_id}/findings?from=2026-03-02T00:00:00Z&to=2026-03-05T00:00:00Z")

    assert [(item["kind"], item["from"]) for item in found["items"]] == [("gap", "2026-03-03T00:00:00Z")]
    query = "from=2026-03-02T00:00:00Z&to=2026-03-05T00:00:00Z&kind=rollover"
    assert get(client, f"points/{counted.point_id}/findings?{query}") == {"items": []}


def test_commissioning_is_said_and_unsaid(client: FlaskClient, counted: Counted) -> None:
    said = post(client, f"meters/{counted.meter_id}/commissioned", {"at": "2026-03-02T12:00:00Z"})

    assert said.json == {"id": counted.meter_id, "commissioned_at": "2026-03-02T12:00:00Z"}
    unsaid = post(client, f"meters/{counted.meter_id}/commissioned", {"at": None})
    assert unsaid.json == {"id": counted.meter_id, "commissioned_at": None}


@pytest.mark.parametrize(
    ("address", "body", "says"),
    [
        ("points/{point}/edits", {"from": "2026-03-02T02:00:00Z"}, "to"),
        (
            "points/{point}/edits",
            {"from": "2026-03-02T02:07:00Z", "to": "2026-03-02T03:00:00Z", "amount": "1", "why": "x"},
            "the nearest is 2026-03-02T02:00:00Z",
        ),
        ("points/{point}/registers", {"valid_from": None, "why": "x"}, "nothing is to change"),
        (
            "points/{point}/exchanges",
            {"at": "2026-03-02T02:00:00", "closing": "1", "opening": "0"},
            "at: is no instant",
        ),
        ("points/{point}/exchanges", {"at": "2026-03-02T02:00:00Z", "closing": "1e999999", "opening": "0"}, "closing"),
        ("points/{point}/registers", {"valid_from": None, "why": "x", "scale": "1e-999999"}, "scale"),
        ("points/{point}/registers", {"valid_from": None, "why": "x" * 1001, "scale": "1"}, "why"),
    ],
)
def test_a_refusal_says_what_is_wrong(
    client: FlaskClient, counted: Counted, address: str, body: dict[str, Any], says: str
) -> None:
    answer = post(client, address.format(point=counted.point_id), body)

    assert answer.status_code == 422
    assert answer.json is not None
    assert says in answer.json["detail"]


@pytest.mark.parametrize(
    "address",
    [
        "points/{point}/intervals?from=2026-03-02T00:00:00Z",
        "points/{point}/intervals?from=2020-03-02T00:00:00Z&to=2026-03-02T00:00:00Z",
        "points/{point}/days?from=2026-03-02&to=2026-02-02",
        "points/{point}/months?from=March&to=2026-02-02",
    ],
)
def test_a_range_that_makes_no_sense_is_refused(client: FlaskClient, counted: Counted, address: str) -> None:
    assert client.get("/api/v1/" + address.format(point=counted.point_id)).status_code == 422
