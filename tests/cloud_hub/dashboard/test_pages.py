import re
from datetime import UTC, datetime, timedelta

from browsing import counted_queries
from flask.testing import FlaskClient
from hub_factories import Reading, add_controller, add_meter, add_point, add_scans, add_site, add_stream
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cloud_hub.dashboard.overview import METERS_PER_SITE, SITES_PER_PAGE
from cloud_hub.registry.models import Meter
from protocol.quality import Quality


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def words(page: str) -> str:
    """Return what a person reads: tags out, runs of blanks to one."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>|&nbsp;", " ", page))


def add_read_meter(session: Session, meter: Meter, *, age_s: float = 1.0) -> None:
    points = [
        add_point(session, meter, "active_power_total"),
        add_point(session, meter, "energy_active_import_total", quantity="active_energy", unit="Wh", kind="counter"),
    ]
    add_scans(session, meter, points, [[1234.5, 6_543_210.0]], start=ago(age_s))


def test_an_empty_hub_says_what_comes_next(client: FlaskClient) -> None:
    assert "No site is registered yet" in client.get("/").text


def test_the_first_page_shows_sites_meters_and_newest_values(client: FlaskClient, session: Session) -> None:
    controller = add_controller(session, add_site(session, name="North <hut>"), last_seen_at=ago(0))
    add_read_meter(session, add_meter(session, controller, label="Heater", period_s=60))
    add_meter(session, controller, "silent")
    add_stream(session, controller, committed="{[1,1500]}", announced_next=1511)
    session.commit()
    page = client.get("/").text
    text = words(page)
    assert "North &lt;hut&gt;" in page
    assert "1,234.5 W" in text
    assert "6,543.21 kWh" in text
    assert "s ago" in text
    assert "Europe/Berlin (UTC+" in text
    assert "online" in text
    assert "committed 1,500" in text
    assert "on the controller 10" in text
    assert "silent eastron-sdm120 no reading yet never read" in text


def test_an_old_value_is_shown_as_old(client: FlaskClient, session: Session) -> None:
    controller = add_controller(session, add_site(session), presence="offline")
    add_read_meter(session, add_meter(session, controller, period_s=1), age_s=7_200)
    session.commit()
    text = words(client.get("/").text)
    assert "1,234.5 W stale" in text
    assert "2 h ago" in text
    assert "offline" in text


def test_a_missing_value_shows_its_reason_and_no_older_value(client: FlaskClient, session: Session) -> None:
    meter = add_meter(session, add_controller(session, add_site(session)))
    rows: list[list[Reading]] = [[1234.0, 5.0], [(None, Quality.TIMEOUT), (6.0, Quality.COUNTER_REGRESSED)]]
    points = [add_point(session, meter), add_point(session, meter, "energy", unit="Wh", kind="counter")]
    add_scans(session, meter, points, rows, start=ago(1))
    session.commit()
    for path in ("/", f"/meters/{meter.id}"):
        text = words(client.get(path).text)
        assert "timeout" in text
        assert "counter regressed" in text
        assert "1,234" not in text


def test_a_meter_page_names_every_point_and_the_zone(client: FlaskClient, session: Session) -> None:
    meter = add_meter(session, add_controller(session, add_site(session)), label="Heater", period_s=900)
    add_read_meter(session, meter)
    session.commit()
    page = client.get(f"/meters/{meter.id}").text
    text = words(page)
    assert "Active power total" in text
    assert "every 15 min" in text
    assert 'data-zone="Europe/Berlin"' in page
    assert re.search(r'title="\d{4}-\d\d-\d\d \d\d:\d\d:\d\d CES?T"', page)


def test_more_sites_and_meters_than_a_page_holds_are_announced(client: FlaskClient, session: Session) -> None:
    sites = [add_site(session, f"site-{number:02d}", name=f"Site {number:02d}") for number in range(SITES_PER_PAGE + 1)]
    controller = add_controller(session, sites[0])
    for number in range(METERS_PER_SITE + 1):
        add_meter(session, controller, f"meter-{number:02d}")
    session.commit()
    page = client.get("/").text
    assert page.count('class="meter panel"') == METERS_PER_SITE
    assert f"shows the first {METERS_PER_SITE} meters" in page
    assert "Site 10" not in page
    link = re.search(r'href="(/\?cursor=[^"]+)"', page)
    assert link is not None
    assert "Site 10" in client.get(link[1]).text


def test_the_first_page_asks_as_often_however_much_is_on_it(
    client: FlaskClient, session: Session, engine: Engine
) -> None:
    def count() -> int:
        with counted_queries(engine) as statements:
            assert client.get("/").status_code == 200
        return len(statements)

    add_site(session, "a")
    session.commit()
    empty = count()
    for number in range(8):
        controller = add_controller(session, add_site(session, f"site-{number}"), f"controller-{number}")
        for slug in ("one", "two", "three"):
            add_read_meter(session, add_meter(session, controller, slug))
    session.commit()
    assert count() == empty
    assert empty <= 8
