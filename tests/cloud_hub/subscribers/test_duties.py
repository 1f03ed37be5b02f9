"""Settings decide what `work` does for subscribers, and whether anything is said to them."""

import pytest

from cloud_hub.errors import SettingsError
from cloud_hub.settings import HubSettings, load_settings
from cloud_hub.work.subscribers import subscriber_duties

DATABASE = {"METERHAUL_DATABASE_URL": "postgresql://hub@127.0.0.1/hub"}
BROKER = {"METERHAUL_BROKER_URL": "mqtt://hub:secret@127.0.0.1:1884"}
FILES = {"METERHAUL_BROKER_FILES": "/etc/mosquitto/meterhaul"}
OFF = {"METERHAUL_LIVE_TOPICS": "off"}


def settings(*given: dict[str, str]) -> HubSettings:
    return load_settings({key: value for one in (DATABASE, *given) for key, value in one.items()})


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ([], []),
        ([BROKER], ["live topics"]),
        ([BROKER, FILES], ["live topics", "broker logins"]),
        ([BROKER, FILES, OFF], ["broker logins"]),
        ([FILES], ["broker logins"]),
    ],
    ids=["nothing", "broker", "broker and files", "switched off", "files alone"],
)
def test_duties_follow_from_the_settings(given: list[dict[str, str]], names: list[str]) -> None:
    assert [duty.name for duty in subscriber_duties(settings(*given))] == names


def test_switch_that_is_neither_on_nor_off_is_refused() -> None:
    with pytest.raises(SettingsError, match="METERHAUL_LIVE_TOPICS is 'perhaps': set it to on or off"):
        settings({"METERHAUL_LIVE_TOPICS": "perhaps"})
