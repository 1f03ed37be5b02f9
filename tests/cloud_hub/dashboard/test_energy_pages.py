from datetime import date

import pytest
from browsing import counted_queries
from energy_page_factories import table_rows, words
from flask.testing import FlaskClient
from hub_factories import add_controller, add_meter, add_point, add_site
from ledger_rows import MISSING, WH, add_days, add_metered, add_plain_site
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cloud_hub.registry.models import MeterRole
from demo.example_month import MONTH, SLUG, ExampleMonth, add_example_month

PAGE = f"/sites/{SLUG}/energy?month={MONTH}"


@pytest.fixture
def month(engine: Engine) -> ExampleMonth:
    return add_example_month(engine)


@pytest.mark.usefixtures("month")
def test_a_month_is_told_with_how_far_each_figure_may_be_trusted(client: FlaskClient) -> None:
    text = words(client.get(PAGE).text)
    assert "Energy of Bakery Lindenhof Days and times in Europe/Berlin" in text
    assert "‹ September 2025 October 2025 November 2025 ›" in text  # noqa: RUF001 -- as it stands on the page
    assert "Consumption 2,033.3 kWh 90.8 % complete 85.26 kWh estimated 31.50 kWh edited 39 h missing" in text
    assert "Peak demand 10.99 kW" in text
    assert "31 Oct 2025, 05:30 CET, 30 minutes" in text
    assert "Base load 0.57 kW" in text
    assert "Inside operating hours" in text
    assert "EUR for energy" in text
    assert "Cost 775.05 EUR 90.8 % complete" in text
    assert "VAT Oct 2025 651.3 EUR 19 % 123.75" in text


@pytest.mark.usefixtures("month")
def test_days_are_told_as_they_are_known(client: FlaskClient) -> None:
    days = {row[0]: row[2] for row in table_rows(client.get(PAGE).text, "plain")}
    assert len(days) == 31
    assert days["Wed 1 Oct 2025"] == "measured"
    assert days["Wed 8 Oct 2025"] == "estimated in part"
    assert days["Wed 15 Oct 2025"] == "missing in part"
    assert days["Tue 21 Oct 2025"] == "edited in part"
    assert days["Sun 26 Oct 2025"] == "measured"


@pytest.mark.usefixtures("month")
def test_sub_meters_stand_below_their_meter_and_the_rest_after_them(client: FlaskClient) -> None:
    page = client.get(PAGE).text
    rows = table_rows(page, "meters-table")
    assert [row[0] for row in rows] == [
        "Main meter grid connection",
        "Oven",
        "Cold store air conditioner",
        "Roof solar power",
        "Not sub-metered the rest",
    ]
    assert page.count('class="depth-0"') == 1
    assert page.count('class="depth-1"') == 4
    assert rows[1][1:4] == ["1,274.6 kWh", "62.7 %", "measured"]
    assert rows[3][2] == ""


@pytest.mark.usefixtures("month")
def test_the_heat_map_has_a_cell_for_every_half_hour_of_every_day(client: FlaskClient) -> None:
    rows = table_rows(client.get(PAGE).text, "heat")
    assert len(rows) == 31
    assert {len(row) for row in rows} == {51}
    sunday = next(row for row in rows if row[0] == "Sun 26 Oct")
    assert "no such time" not in sunday
    assert rows[0].count("no such time") == 2
    assert rows[14].count("missing") == 44


def test_a_site_without_tariff_or_hours_says_how_to_give_it_some(client: FlaskClient, session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main", role=MeterRole.GRID)
    add_days(session, point, site, date(2026, 3, 1), 31, slot=500 * WH)
    session.commit()
    text = words(client.get("/sites/north/energy?month=2026-03").text)
    assert "No tariff is assigned to this site: send one to /api/v1/sites/north/tariffs" in text
    assert "No operating hours are set for this site: send them to /api/v1/sites/north/operating-hours" in text


def test_nothing_known_is_never_shown_as_zero(client: FlaskClient, session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main", role=MeterRole.GRID)
    add_days(session, point, site, date(2026, 3, 1), 31, slot=MISSING)
    session.commit()
    page = client.get("/sites/north/energy?month=2026-03").text
    text = words(page)
    assert "Consumption not known 0 % complete Nothing is known; it is not zero." in text
    assert "0.00 kWh" not in text
    assert page.count('<rect class="missing" x=') >= 31


def test_a_site_that_counts_nothing_says_what_comes_next(client: FlaskClient, session: Session) -> None:
    add_site(session)
    session.commit()
    answer = client.get("/sites/north/energy")
    assert answer.status_code == 200
    assert "No meter of this site counts anything yet." in words(answer.text)


def test_water_is_told_apart_from_electricity_and_in_its_own_unit(client: FlaskClient, session: Session) -> None:
    site, controller = add_plain_site(session)
    _, power = add_metered(session, controller, "main", role=MeterRole.GRID)
    _, water = add_metered(session, controller, "water", role=MeterRole.WATER, quantity="volume", unit="m3")
    for point in (power, water):
        add_days(session, point, site, date(2026, 3, 1), 31, slot=1_000_000)
    session.commit()
    page = client.get("/sites/north/energy?month=2026-03&quantity=volume").text
    assert "Consumption 1,486.0 m³" in words(page)
    assert "quantity=volume&amp;" in page or "&amp;quantity=volume" in page
    assert "water water" in words(page)
    assert "Tariff" not in words(page)


def test_a_longer_period_has_a_bar_for_each_month(client: FlaskClient, session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main", role=MeterRole.GRID)
    add_days(session, point, site, date(2026, 1, 1), 90, slot=500 * WH)
    session.commit()
    page = client.get("/sites/north/energy?first=2026-01-01&last=2026-03-31").text
    assert [row[0] for row in table_rows(page, "plain")] == ["January 2026", "February 2026", "March 2026"]
    assert "Choose 62 days or fewer" in words(page)


def test_a_range_that_cannot_be_is_refused_at_the_form_and_kept(client: FlaskClient, session: Session) -> None:
    add_site(session)
    session.commit()
    answer = client.get("/sites/north/energy?first=2026-03-09&last=2026-03-01")
    assert answer.status_code == 422
    assert "The last day, 2026-03-01, is before the first, 2026-03-09" in words(answer.text)
    assert 'value="2026-03-09"' in answer.text
    assert 'value="2026-03-01"' in answer.text


def test_a_period_in_whose_midst_counting_began_is_not_compared_with(client: FlaskClient, session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main", role=MeterRole.GRID)
    add_days(session, point, site, date(2026, 2, 20), 40, slot=500 * WH)
    session.commit()
    text = words(client.get("/sites/north/energy?first=2026-03-03&last=2026-03-16").text)
    assert "Beside the days before not known 100 % complete Not comparable." in text
    text = words(client.get("/sites/north/energy?first=2026-03-09&last=2026-03-15").text)
    assert "Beside the days before ±0 % 100 % complete 168.0 kWh in the 7 days before, 100 % complete" in text


def test_an_unknown_site_or_quantity_is_refused(client: FlaskClient, session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main", role=MeterRole.GRID)
    add_days(session, point, site, date(2026, 3, 1), 1, slot=WH)
    session.commit()
    assert client.get("/sites/nowhere/energy").status_code == 404
    assert client.get("/sites/north/energy?quantity=volume").status_code == 422


def test_the_page_asks_as_often_however_many_meters_there_are(
    client: FlaskClient, session: Session, engine: Engine
) -> None:
    site, controller = add_plain_site(session)
    main, point = add_metered(session, controller, "main", role=MeterRole.GRID)
    _, below = add_metered(session, controller, "below", parent=main)
    for each in (point, below):
        add_days(session, each, site, date(2026, 3, 1), 3, slot=WH)
    session.commit()

    def count() -> int:
        with counted_queries(engine) as statements:
            assert client.get("/sites/north/energy?month=2026-03").status_code == 200
        return len(statements)

    few = count()
    for number in range(10):
        _, more = add_metered(session, controller, f"sub-{number}", parent=main)
        add_days(session, more, site, date(2026, 3, 1), 3, slot=WH)
    session.commit()
    assert count() == few


def test_the_first_page_and_a_meters_page_lead_to_energy_and_ledger(client: FlaskClient, session: Session) -> None:
    meter = add_meter(session, add_controller(session, add_site(session)))
    gauge = add_point(session, meter)
    counter = add_point(
        session, meter, "energy_active_import_total", quantity="active_energy", unit="Wh", kind="counter"
    )
    session.commit()
    assert 'href="/sites/north/energy"' in client.get("/").text
    page = client.get(f"/meters/{meter.id}").text
    assert f'href="/points/{counter.id}/ledger"' in page
    assert f'href="/points/{gauge.id}/ledger"' not in page
