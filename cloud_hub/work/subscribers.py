"""What `work` does for subscribers, where its settings say where the broker is."""

from cloud_hub.settings import HubSettings
from cloud_hub.subscribers.broker import BrokerLogins
from cloud_hub.subscribers.upkeep import LiveUpkeep
from cloud_hub.work.worker import Duty

_EVERY_S = 2.0


def subscriber_duties(settings: HubSettings) -> list[Duty]:
    """Return the duties of the live tree and of the broker's logins; none where they are switched off.

    Raises: SettingsError when the broker's address makes no sense.
    """
    duties = []
    if settings.has_live_topics and settings.broker_url is not None:
        duties.append(Duty("live topics", _EVERY_S, LiveUpkeep(settings.broker).do))
    if settings.broker_files is not None:
        duties.append(Duty("broker logins", _EVERY_S, BrokerLogins(settings.broker_files).bring_in_step))
    return duties
