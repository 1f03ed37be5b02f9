import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import EMAIL, PASSWORD
from playwright.sync_api import Browser, Page, expect, sync_playwright
from served_hub import ServedHub
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cloud_hub.users.service import create_admin
from demo.example_month import MONTH, SLUG, ExampleMonth, add_example_month

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ENERGY = f"/sites/{SLUG}/energy?month={MONTH}"

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
def month(engine: Engine) -> ExampleMonth:
    return add_example_month(engine)


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complains of: errors of scripts, of loading, of the content policy."""
    return []


@pytest.fixture
def hub(database_url: str, session: Session, month: ExampleMonth, tmp_path: Path) -> Iterator[ServedHub]:
    del month
    create_admin(session, EMAIL, PASSWORD)
    session.commit()
    hub = ServedHub(database_url, tmp_path)
    hub.start()
    yield hub
    hub.process.stop()


@pytest.fixture
def page(browser: Browser, hub: ServedHub, complaints: list[str]) -> Iterator[Page]:
    """Open a browser far from the site's time zone, logged in."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{hub.port}", timezone_id="Asia/Tokyo")
    page = context.new_page()
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/login")
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Sites")).to_be_visible()
    yield page
    context.close()


def test_a_manager_finds_the_month_and_reads_the_map_with_the_keyboard(page: Page, complaints: list[str]) -> None:
    page.get_by_role("link", name="Energy of Bakery Lindenhof").click()
    page.goto(ENERGY)
    expect(page.get_by_role("heading", name="October 2025")).to_be_visible()
    readout = page.locator(".heat-readout")
    page.locator(".heat").focus()
    expect(readout).to_contain_text("Wed 1 Oct, from 00:00:")
    page.keyboard.press("ArrowRight")
    expect(readout).to_contain_text("Wed 1 Oct, from 00:30:")
    for _ in range(8):
        page.keyboard.press("ArrowDown")
    expect(readout).to_have_text("Thu 9 Oct, from 00:30: 1.18 kW, estimated")
    page.locator(".heat tbody tr").nth(15).locator("td").nth(10).hover()
    expect(readout).to_contain_text("Thu 16 Oct, from 04:00: missing")
    page.get_by_label("Show figures").check()
    expect(page.locator(".heat tbody td").first).to_have_css("font-size", "12px")
    page.get_by_role("link", name="September 2025").click()
    expect(page.get_by_role("heading", name="September 2025")).to_be_visible()
    assert complaints == []


def test_an_edit_is_refused_kept_and_then_made(page: Page, month: ExampleMonth, complaints: list[str]) -> None:
    page.goto(f"/points/{month.oven_point_id}/ledger?day=2025-10-14")
    page.get_by_text("Put an amount in place").click()
    page.locator("select[name=to]").select_option(label="02:00 CEST")
    amount = page.get_by_label("Amount of all of it, kWh")
    amount.fill("1,5")
    page.locator("form", has=amount).get_by_label("Why").fill("read by hand")
    page.get_by_role("button", name="Put in place").click()
    expect(page.get_by_role("alert")).to_contain_text("write it with a decimal point")
    expect(amount).to_have_value("1,5")
    expect(page.locator("select[name=to]").locator("option:checked")).to_have_text("02:00 CEST")
    complaints.clear()  # a browser notes the refusal's status as an error of loading
    amount.fill("1.5")
    page.get_by_role("button", name="Put in place").click()
    expect(page.get_by_text("The amount is put in place.")).to_be_visible()
    assert complaints == []


def test_nothing_is_wider_than_a_phone(page: Page, month: ExampleMonth, complaints: list[str]) -> None:
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 360, "height": 740})
    for path in (ENERGY, f"/points/{month.cold_point_id}/ledger?day=2025-10-27"):
        page.goto(path)
        for summary in page.locator("summary").all()[:12]:
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert complaints == []
