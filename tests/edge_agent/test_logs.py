"""Log lines are JSON where programs read them, and text where people do."""

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from edge_agent.logs import configure_logging
from edge_agent.settings import LogSettings


@pytest.fixture(autouse=True)
def _configuration_ends_with_the_test() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def written(settings: LogSettings) -> str:
    stream = io.StringIO()
    configure_logging(settings, stream)
    log = structlog.get_logger()
    log.debug("hidden")
    log.warning("meter_unreachable", meter_id="heater")
    return stream.getvalue()


def test_line_is_json_where_no_terminal_is() -> None:
    entry = json.loads(written(LogSettings()))
    assert (entry["event"], entry["meter_id"], entry["level"]) == ("meter_unreachable", "heater", "warning")
    assert entry["timestamp"].endswith("Z")


def test_text_can_be_asked_for() -> None:
    assert "meter_unreachable" in written(LogSettings(format="text"))


def test_level_decides_what_is_written() -> None:
    assert written(LogSettings(level="error")) == ""
    assert "hidden" in written(LogSettings(level="debug"))
