"""Green Button files hold the ledger's intervals, exactly, with the codes that the standard has for them."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from xml.etree import ElementTree as ET

import pytest
from flask.testing import FlaskClient
from hub_factories import add_point
from sqlalchemy.orm import Session
from transfer_factories import add_ledger_day, add_register_point

from cloud_hub.energy.model import Direction, IntervalQuality, Method
from cloud_hub.ledger.registers import correct_register
from cloud_hub.registry.models import Meter, Point

NAMES = {"a": "http://www.w3.org/2005/Atom", "e": "http://naesb.org/espi"}
QUERY = "from=2026-01-01&to=2027-01-01&format=espi"


@pytest.fixture
def point(session: Session) -> Point:
    return add_register_point(session)


def feed_of(client: FlaskClient) -> ET.Element:
    answer = client.get(f"/api/v1/export/intervals?{QUERY}")
    assert answer.content_type == "application/atom+xml; charset=utf-8"
    feed = ET.fromstring(answer.data)
    answer.close()
    return feed


def numbers(feed: ET.Element, path: str) -> list[int]:
    return [int(element.text or "") for element in feed.iterfind(path, NAMES)]


def blocks(feed: ET.Element) -> Iterator[ET.Element]:
    return feed.iterfind("a:entry/a:content/e:IntervalBlock", NAMES)


@pytest.mark.parametrize(("day", "periods"), [(date(2026, 3, 29), 46), (date(2026, 10, 25), 50)], ids=str)
def test_a_block_per_local_day_holds_all_its_intervals_exactly(
    client: FlaskClient, session: Session, point: Point, day: date, periods: int
) -> None:
    row = add_ledger_day(session, point, day)
    other = add_ledger_day(session, point, day.replace(day=1))
    session.commit()
    feed = feed_of(client)
    assert [len(block.findall("e:IntervalReading", NAMES)) for block in blocks(feed)] == [48, periods]
    last = list(blocks(feed))[-1]
    assert numbers(last, "e:interval/e:start") == [int(row.start_at.timestamp())]
    assert numbers(last, "e:interval/e:duration") == [periods * 1800]
    starts = numbers(last, "e:IntervalReading/e:timePeriod/e:start")
    assert starts == [int(row.start_at.timestamp()) + n * 1800 for n in range(periods)]
    exponent = numbers(feed, ".//e:powerOfTenMultiplier")
    assert exponent == [-6]
    assert sum(numbers(feed, ".//e:IntervalReading/e:value")) == row.total_micro + other.total_micro


def test_a_register_is_described_before_its_intervals(client: FlaskClient, session: Session, point: Point) -> None:
    add_ledger_day(session, point, date(2026, 5, 1))
    session.commit()
    feed = feed_of(client)
    described = [child.tag.split("}")[1] for child in feed.iterfind("a:entry/a:content/*", NAMES)]
    assert described == ["UsagePoint", "LocalTimeParameters", "MeterReading", "ReadingType", "IntervalBlock"]
    told = {child.tag.split("}")[1]: child.text for child in feed.iterfind(".//e:ReadingType/*", NAMES)}
    assert told == {
        "accumulationBehaviour": "4",
        "commodity": "1",
        "flowDirection": "1",
        "intervalLength": "1800",
        "powerOfTenMultiplier": "-6",
        "uom": "72",
    }
    clock = {child.tag.split("}")[1]: child.text for child in feed.iterfind(".//e:LocalTimeParameters/*", NAMES)}
    assert clock == {"dstEndRule": "AE0E3000", "dstOffset": "3600", "dstStartRule": "3E0E2000", "tzOffset": "3600"}
    assert numbers(feed, ".//e:ServiceCategory/e:kind") == [0]


def test_each_interval_says_how_well_it_is_known_and_a_missing_one_is_left_out(
    client: FlaskClient, session: Session, point: Point
) -> None:
    add_ledger_day(
        session,
        point,
        date(2026, 5, 1),
        qualities={
            0: IntervalQuality.ESTIMATED,
            1: IntervalQuality.ESTIMATED,
            2: IntervalQuality.EDITED,
            3: IntervalQuality.PARTIAL,
            4: IntervalQuality.MISSING,
        },
        methods={0: Method.LINEAR, 1: Method.REFERENCE_DAYS, 2: Method.MANUAL},
    )
    session.commit()
    feed = feed_of(client)
    assert numbers(feed, ".//e:quality") == [9, 8, 7, 10, *[17] * 43]
    assert numbers(feed, ".//e:IntervalReading/e:value")[:5] == [1_000, 2_000, 3_000, 4_000, 6_000]


def test_each_entry_of_a_feed_has_an_id_of_its_own(client: FlaskClient, session: Session, point: Point) -> None:
    meter = session.get_one(Meter, point.meter_id)
    other = add_point(session, meter, "active_energy_export_total", quantity="active_energy", unit="Wh", kind="counter")
    correct_register(session, other.id, valid_from=None, who="ann", why="wrong way round", direction=Direction.EXPORT)
    for one in (point, other):
        add_ledger_day(session, one, date(2026, 5, 1))
        add_ledger_day(session, one, date(2026, 6, 1))
    session.commit()
    feed = feed_of(client)
    ids = [element.text for element in feed.iterfind(".//a:id", NAMES)]
    assert len(ids) == len(set(ids))
    assert numbers(feed, ".//e:flowDirection") == [19, 1]
    assert len(list(feed.iterfind(".//e:LocalTimeParameters", NAMES))) == 1


def test_a_register_that_green_button_has_no_unit_for_is_refused_by_name(
    client: FlaskClient, session: Session, point: Point
) -> None:
    meter = session.get_one(Meter, point.meter_id)
    pulses = add_point(session, meter, "pulse_count", quantity="pulse_count", unit="pulse", kind="counter")
    session.commit()
    answer = client.get(f"/api/v1/export/intervals?{QUERY}")
    assert answer.status_code == 422
    assert "point 'pulse_count' of meter 'heater' counts 'pulse'" in str(answer.json)
    # Once its register is said to count cubic metres, those are what the file holds.
    correct_register(
        session, pulses.id, valid_from=None, who="ann", why="10 L a pulse", unit="m3", scale=Decimal("0.01")
    )
    add_ledger_day(session, pulses, date(2026, 5, 1))
    session.commit()
    assert numbers(feed_of(client), ".//e:uom") == [42]
