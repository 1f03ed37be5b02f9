import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from browsing import EMAIL, PASSWORD
from hub_factories import Reading, add_controller, add_meter, add_point, add_scans, add_site
from playwright.sync_api import Browser, Page, expect, sync_playwright
from served_hub import ServedHub
from sqlalchemy.orm import Session

from cloud_hub.registry.models import Meter, Point
from cloud_hub.users.service import create_admin
from protocol.quality import Quality

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def meter(session: Session) -> Meter:
    controller = add_controller(session, add_site(session), last_seen_at=datetime.now(UTC))
    return add_meter(session, controller, label="Heater", period_s=2)


@pytest.fixture
def points(session: Session, meter: Meter) -> list[Point]:
    """Two points of a heater that was read for ten minutes, with a hole and a few timeouts."""
    points = [add_point(session, meter), add_point(session, meter, "voltage_l1_n", quantity="voltage", unit="V")]
    start = datetime.now(UTC) - timedelta(minutes=10)
    rows: list[list[Reading]] = [[1000.0 + n % 50, 230.0 + n % 3] for n in range(100)]
    rows[40:45] = [[(None, Quality.TIMEOUT)] * 2] * 5
    add_scans(session, meter, points, rows, start=start)
    add_scans(session, meter, points, rows[:20], start=start + timedelta(minutes=6))
    return points


@pytest.fixture
def hub(database_url: str, session: Session, points: list[Point], tmp_path: Path) -> Iterator[ServedHub]:
    del points
    create_admin(session, EMAIL, PASSWORD)
    session.commit()
    hub = ServedHub(database_url, tmp_path)
    hub.start()
    yield hub
    hub.process.stop()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complains of: errors of scripts, of loading, of the content policy."""
    return []


@pytest.fixture
def page(browser: Browser, hub: ServedHub, complaints: list[str]) -> Iterator[Page]:
    """Open the first page as a person who has just logged in with the keyboard alone."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{hub.port}", timezone_id="Asia/Tokyo")
    page = context.new_page()
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/")
    expect(page.get_by_label("E-mail address")).to_be_focused()
    page.keyboard.type(EMAIL)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Sites")).to_be_visible()
    yield page
    context.close()


def read_now(session: Session, meter: Meter, points: list[Point], power_w: float) -> None:
    add_scans(session, meter, points, [[power_w, 231.0]], start=datetime.now(UTC))
    session.commit()


def test_the_first_page_follows_the_meters(
    page: Page, session: Session, meter: Meter, points: list[Point], complaints: list[str]
) -> None:
    card = page.get_by_role("listitem").filter(has_text="Heater")
    expect(card).to_contain_text("stale")
    read_now(session, meter, points, 4321.5)
    expect(card).to_contain_text("4,321.5", timeout=15_000)
    expect(card).not_to_contain_text("stale")
    add_meter(session, add_controller(session, add_site(session, "new", name="New site"), "new-1"), label="Late comer")
    session.commit()
    expect(page.get_by_role("link", name="Late comer")).to_be_visible(timeout=15_000)
    assert complaints == []


def test_a_meter_page_draws_what_was_read_and_goes_on(
    page: Page, session: Session, meter: Meter, points: list[Point], complaints: list[str]
) -> None:
    page.get_by_role("link", name="Heater").focus()
    page.keyboard.press("Enter")
    chart = page.locator("#chart")
    expect(chart.locator("canvas")).to_be_visible()
    expect(chart).to_have_attribute("data-readings", "120")
    expect(page.locator("#chart-note")).to_have_text(
        "120 readings · 1 stretch without any · 5 marked as missing or doubtful · times in Europe/Berlin"
    )
    read_now(session, meter, points, 4321.5)
    expect(chart).to_have_attribute("data-readings", "121", timeout=15_000)
    expect(page.locator(".readings").get_by_role("row", name="Active power total")).to_contain_text(
        "4,321.5", timeout=15_000
    )
    page.get_by_label("Point").select_option(label="Voltage L1-N (V)")
    expect(chart).to_have_attribute("data-point", str(points[1].id))
    expect(chart.locator(".u-legend")).to_contain_text("Voltage L1-N (V)")
    page.get_by_label("Window").select_option(label="24 hours")
    expect(chart).to_have_attribute("data-readings", "121")
    assert complaints == []


def test_a_page_says_when_its_values_grow_old(page: Page, hub: ServedHub) -> None:
    page.get_by_role("link", name="Heater").click()
    expect(page.locator("#chart canvas")).to_be_visible()
    hub.end()
    banner = page.locator("#connection")
    expect(banner).to_be_visible(timeout=15_000)
    expect(banner).to_contain_text(re.compile(r"The hub cannot be reached\. Values below are as of \d"))
    hub.start()
    expect(banner).to_be_hidden(timeout=15_000)


def test_a_session_that_ended_leads_to_the_login(page: Page, complaints: list[str]) -> None:
    # An answer under way would set the cookie again.
    page.wait_for_load_state("networkidle")
    page.context.clear_cookies()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible(timeout=15_000)
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(page: Page, scheme: str, complaints: list[str]) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": 360, "height": 740})
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) <= 360
    page.get_by_role("link", name="Heater").click()
    expect(page.locator("#chart canvas")).to_be_visible()
    assert page.evaluate(width) <= 360
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert complaints == []
