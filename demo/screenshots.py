"""`make screenshots`: run the demo and take pictures of its pages, as desktop, dark and phone show them."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloud_hub.db import create_engine
from demo.errors import DemoError, MissingProgram
from demo.example_month import MONTH, SLUG, ExampleMonth, add_example_month
from demo.holdings import count
from demo.mosquitto import ensure_installed
from demo.processes import wait_until
from demo.stack import Login, Stack

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCANS_BEFORE_PICTURES = 120
_CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_VIEWS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2},
}


def take(target: Path) -> None:
    """Write the pictures into `target`.

    Raises: DemoError.
    """
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 -- a development tool

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise MissingProgram("the browser Chromium is not installed; type: sudo apt-get install chromium")
    ensure_installed()
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        stack = Stack(Path(directory) / "demo")
        try:
            login = stack.start()
            wait_until(lambda: count(stack).scans_committed >= SCANS_BEFORE_PICTURES, 120, "readings to show")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=_CHROMIUM_OPTIONS)
                for name in _VIEWS:
                    _take_present(_open(browser, stack, login, name), target, name)
                month = _add_month(stack)
                for name in _VIEWS:
                    _take_month(_open(browser, stack, login, name), stack, month, target, name)
                browser.close()
        finally:
            stack.stop()
            stack.wipe()


def _add_month(stack: Stack) -> ExampleMonth:
    """Give the demo a site with a past, which the few minutes that it runs cannot."""
    engine = create_engine(stack.database_url)
    try:
        return add_example_month(engine)
    finally:
        engine.dispose()


def _open(browser: "Browser", stack: Stack, login: Login, name: str) -> "Page":
    page = browser.new_page(**_VIEWS[name])
    page.goto(stack.url)
    page.get_by_label("E-mail address").fill(login.email)
    page.get_by_label("Password").fill(login.password)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Sites").wait_for()
    return page


def _take_present(page: "Page", target: Path, name: str) -> None:
    _save(page, target / f"sites-{name}.png")
    page.get_by_role("link", name="Server rack").click()
    page.locator(".u-over").wait_for(state="attached")
    _save(page, target / f"meter-{name}.png")
    page.close()


def _take_month(page: "Page", stack: Stack, month: ExampleMonth, target: Path, name: str) -> None:
    page.goto(f"{stack.url}sites/{SLUG}/energy?month={MONTH}")
    _save(page, target / f"energy-{name}.png")
    page.goto(f"{stack.url}points/{month.grid_point_id}/ledger?day={MONTH}-09")
    _save(page, target / f"ledger-{name}.png")
    page.close()


def _save(page: "Page", path: Path) -> None:
    page.screenshot(path=path, full_page=True)
    print(path)  # noqa: T201 -- says what it made


def main() -> int:
    """Take the pictures and return the exit code."""
    try:
        take(Path("screenshots"))
    except DemoError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- speaks to a person
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
