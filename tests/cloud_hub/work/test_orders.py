"""`work` sends orders where it has a broker and a key, and says what is missing where it has not."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cloud_hub.settings import BROKER_URL, SIGNING_KEY_FILE, load_settings
from cloud_hub.work.orders import order_duties

SETTINGS = {"METERHAUL_DATABASE_URL": "postgresql://hub@127.0.0.1/hub"}
BROKER, KEY = {BROKER_URL: "mqtt://hub@127.0.0.1"}, {SIGNING_KEY_FILE: "signing-key"}


def test_orders_are_a_duty_where_there_is_a_broker_and_a_key() -> None:
    duties = order_duties(load_settings(SETTINGS | BROKER | KEY))
    assert [duty.name for duty in duties] == ["orders", "missed_configurations"]
    assert not Path("signing-key").exists(), "a key is made by whoever first needs it"


@pytest.mark.parametrize(("given", "missing"), [(BROKER, SIGNING_KEY_FILE), (KEY, BROKER_URL)])
def test_what_is_missing_is_said_once(given: dict[str, str], missing: str) -> None:
    with capture_logs() as logs:
        assert order_duties(load_settings(SETTINGS | given)) == []
    assert [(entry["event"], entry["reason"]) for entry in logs] == [("orders_not_sent", f"{missing} is not set")]
