import csv
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from browsing import counted_queries
from flask.testing import FlaskClient
from hub_factories import START, Reading, add_controller, add_meter, add_point, add_scans, add_site
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cloud_hub.readings import service
from cloud_hub.registry.models import Controller, Meter, Point
from protocol.quality import Quality, exception_quality

START_MS = int(START.timestamp() * 1000)


@pytest.fixture
def meter(session: Session) -> Meter:
    return add_meter(session, add_controller(session, add_site(session)), period_s=1.0)


@pytest.fixture
def points(session: Session, meter: Meter) -> list[Point]:
    return [add_point(session, meter, "active_power_total"), add_point(session, meter, "voltage_l1_n", unit="V")]


def series(client: FlaskClient, point: Point, *, seconds: float = 60, **query: object) -> Any:
    instants = {"from": START.isoformat(), "to": (START + timedelta(seconds=seconds)).isoformat()}
    answer = client.get(f"/api/v1/points/{point.id}/series", query_string={**instants, **query})
    assert answer.status_code == 200, answer.text
    return answer.json


def series_text(client: FlaskClient, point: Point, **query: object) -> str:
    instants = {"from": START.isoformat(), "to": (START + timedelta(seconds=60)).isoformat()}
    answer = client.get(f"/api/v1/points/{point.id}/series", query_string={**instants, **query})
    assert answer.status_code == 200, answer.text
    return answer.text.splitlines()[0]


def test_a_series_holds_what_was_read_in_the_range(
    client: FlaskClient, session: Session, meter: Meter, points: list[Point]
) -> None:
    add_scans(session, meter, points, [[100.5, 230.0], [-3.25, 231.0], [7.0, 232.0]])
    session.commit()
    answer = series(client, points[0], seconds=2)
    assert answer["observed_at"] == [START_MS, START_MS + 1000]
    assert answer["value"] == [100.5, -3.25]
    assert answer["quality"] == ["good", "good"]
    assert (answer["readings"], answer["reduced"]) == (2, False)
    assert answer["from"] == "2026-01-31T12:00:00Z"
    assert answer["point"]["unit"] == "W"
    assert series(client, points[1])["value"] == [230.0, 231.0, 232.0]


def test_a_missing_value_says_why_and_a_hole_says_nothing(
    client: FlaskClient, session: Session, meter: Meter, points: list[Point]
) -> None:
    rows: list[list[Reading]] = [
        [1.0, 230.0],
        [(None, Quality.TIMEOUT), 230.0],
        [(3.0, Quality.COUNTER_REGRESSED), 230.0],
    ]
    add_scans(session, meter, points, rows)
    add_scans(session, meter, points, [[(None, exception_quality(2)), 230.0]], start=START + timedelta(seconds=30))
    session.commit()
    answer = series(client, points[0])
    assert answer["value"] == [1.0, None, 3.0, None, None]
    assert answer["quality"] == ["good", "timeout", "counter_regressed", None, "exception(2)"]
    assert answer["readings"] == 4


def test_a_changed_configuration_never_shifts_a_column(
    client: FlaskClient, session: Session, meter: Meter, points: list[Point]
) -> None:
    add_scans(session, meter, points, [[1.0, 230.0]])
    add_scans(session, meter, points[::-1], [[231.0, 2.0]], start=START + timedelta(seconds=1))
    add_scans(session, meter, points[1:], [[232.0]], start=START + timedelta(seconds=2))
    session.commit()
    assert series(client, points[0])["value"] == [1.0, 2.0]
    assert series(client, points[1])["value"] == [230.0, 231.0, 232.0]


def test_scans_that_arrived_late_stand_where_they_were_observed(
    client: FlaskClient, session: Session, meter: Meter, points: list[Point]
) -> None:
    add_scans(session, meter, points, [[2.0, 0.0]], start=START + timedelta(seconds=1))
    add_scans(session, meter, points, [[1.0, 0.0]])
    session.commit()
    assert series(client, points[0])["value"] == [1.0, 2.0]


def test_a_long_series_keeps_its_extremes_within_the_bound(
    client: FlaskClient, session: Session, meter: Meter, points: list[Point]
) -> None:
    rows: list[list[Reading]] = [[float(n % 10), 230.0] for n in range(3_000)]
    rows[1_111][0], rows[2_222][0] = 9_999.0, (None, Quality.NOT_AVAILABLE)
    add_scans(session, meter, points, rows)
    session.commit()
    answer = series(client, points[0], seconds=3_000, max_points=100)
    assert len(answer["value"]) <= 100
    assert 9_999.0 in answer["value"]
    assert "not_available" in answer["quality"]
    assert (answer["readings"], answer["reduced"]) == (3_000, True)
    assert answer["observed_at"] == sorted(answer["observed_at"])


def test_a_point_without_readings_has_empty_columns(client: FlaskClient, session: Session, points: list[Point]) -> None:
    session.commit()
    answer = series(client, points[0])
    assert [answer["observed_at"], answer["value"], answer["quality"]] == [[], [], []]


def test_more_readings_than_one_answer_may_hold_are_refused_with_a_way_out(
    client: FlaskClient, session: Session, meter: Meter, points: list[Point], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SCANS_MAX", 2)
    add_scans(session, meter, points, [[1.0, 1.0]] * 4)
    session.commit()
    query = {"from": START.isoformat(), "to": (START + timedelta(days=1)).isoformat()}
    answer = client.get(f"/api/v1/points/{points[0].id}/series", query_string=query)
    assert answer.status_code == 422
    assert answer.json is not None
    assert "for example until 2026-01-31T12:00:02Z" in answer.json["detail"]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({}, "from: is missing"),
        ({"from": "2026-01-31T12:00:00", "to": "2026-01-31T13:00:00Z"}, "offset from UTC"),
        ({"from": "2026-01-31T13:00:00Z", "to": "2026-01-31T13:00:00Z"}, "to is not after from"),
        ({"from": "2026-01-31T12:00:00Z", "to": "2026-01-31T13:00:00Z", "max_points": "1"}, "max_points"),
        (
            {"from": "2026-01-31T12:00:00Z", "to": "2026-01-31T13:00:00Z", "fields": "value,volume"},
            "fields: 1: input should be 'observed_at', 'value' or 'quality' (here: 'volume')",
        ),
    ],
)
def test_an_unclear_range_is_refused(
    client: FlaskClient, session: Session, points: list[Point], query: dict[str, str], reason: str
) -> None:
    session.commit()
    answer = client.get(f"/api/v1/points/{points[0].id}/series", query_string=query)
    assert answer.status_code == 422
    assert answer.json is not None
    assert reason in answer.json["detail"]


def test_the_newest_reading_is_never_an_older_one_with_a_value(
    client: FlaskClient, session: Session, meter: Meter, points: list[Point]
) -> None:
    add_scans(session, meter, points, [[1.0, 230.0], [(None, Quality.TIMEOUT), (231.5, Quality.OUT_OF_RANGE)]])
    session.commit()
    answer = client.get(f"/api/v1/meters/{meter.id}/latest")
    assert answer.json == {
        "meter_id": meter.id,
        "items": [
            {
                "point_id": points[0].id,
                "name": "active_power_total",
                "unit": "W",
                "observed_at": "2026-01-31T12:00:01Z",
                "value": None,
                "quality": "timeout",
            },
            {
                "point_id": points[1].id,
                "name": "voltage_l1_n",
                "unit": "V",
                "observed_at": "2026-01-31T12:00:01Z",
                "value": 231.5,
                "quality": "out_of_range",
            },
        ],
    }


def test_a_series_is_a_file_for_who_asks_for_one(
    client: FlaskClient, session: Session, meter: Meter, points: list[Point]
) -> None:
    rows: list[list[Reading]] = [[-1.5, 230.0], [(None, Quality.TIMEOUT), 230.0]]
    add_scans(session, meter, points, rows)
    session.commit()
    path = f"/api/v1/points/{points[0].id}/series"
    query = {"from": START.isoformat(), "to": (START + timedelta(minutes=1)).isoformat()}
    answer = client.get(path, query_string={**query, "format": "csv"})
    assert answer.text.splitlines() == [
        "observed_at,value,quality",
        "2026-01-31T12:00:00.000Z,-1.5,good",
        "2026-01-31T12:00:01.000Z,,timeout",
    ]
    arrow = client.get(path, query_string=query, headers={"Accept": "application/vnd.apache.arrow.stream"})
    table: Any = pa.ipc.open_stream(arrow.data).read_all()
    assert table.to_pydict() == {
        "observed_at": [START, START + timedelta(seconds=1)],
        "value": [-1.5, None],
        "quality": ["good", "timeout"],
    }
    assert table.schema.metadata[b"unit"] == b"W"
    assert client.get(path, query_string=query, headers={"Accept": "image/png"}).status_code == 406


def test_a_series_and_the_newest_readings_have_the_fields_that_were_asked_for(
    client: FlaskClient, session: Session, meter: Meter, points: list[Point]
) -> None:
    add_scans(session, meter, points, [[1.0, 230.0]])
    session.commit()
    answer = series(client, points[0], fields="value")
    assert answer["value"] == [1.0]
    assert answer.keys() == {"point", "from", "to", "readings", "reduced", "value"}
    assert list(csv.reader([series_text(client, points[0], fields="quality,value", format="csv")])) == [
        ["value", "quality"]
    ]
    latest: Any = client.get(f"/api/v1/meters/{meter.id}/latest?fields=value&fields=unit").json
    assert latest["items"][0] == {"point_id": points[0].id, "unit": "W", "value": 1.0}
    refused = client.get(f"/api/v1/meters/{meter.id}/latest?fields=colour")
    assert refused.status_code == 422
    assert "'name', 'unit', 'observed_at', 'value' or 'quality'" in refused.text


def test_the_newest_readings_of_a_site_come_meter_by_meter_in_as_many_queries_for_many(
    client: FlaskClient, session: Session, web_engine: Engine, meter: Meter, points: list[Point]
) -> None:
    add_scans(session, meter, points, [[1.0, 230.0]])
    session.commit()
    with counted_queries(web_engine) as few:
        first: Any = client.get("/api/v1/sites/north/latest").json
    controller = session.get_one(Controller, meter.controller_id)
    others = [add_meter(session, controller, f"other-{n}") for n in range(4)]
    for other in others:
        add_scans(session, other, [add_point(session, other)], [[2.0]])
    session.commit()
    with counted_queries(web_engine) as many:
        all_of_them: Any = client.get("/api/v1/sites/north/latest?fields=value").json
    assert [[item["value"] for item in each["items"]] for each in first["items"]] == [[1.0, 230.0]]
    assert [each["meter_id"] for each in all_of_them["items"]] == [meter.id, *(other.id for other in others)]
    assert all_of_them["items"][-1]["items"][0].keys() == {"point_id", "value"}
    assert len(many) == len(few)
    part: Any = client.get("/api/v1/sites/north/latest?limit=2").json
    rest: Any = client.get(f"/api/v1/sites/north/latest?cursor={part['next_cursor']}").json
    assert [len(part["items"]), len(rest["items"]), rest["next_cursor"]] == [2, 3, None]
