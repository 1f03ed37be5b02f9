"""What `work` does for orders to controllers: sends what is due, and says again what a controller has missed."""

import structlog
from sqlalchemy import Engine

from cloud_hub.configuration.broker import OrderLine
from cloud_hub.configuration.dispatch import Dispatcher, repeat_missed
from cloud_hub.configuration.signing import prepare_signing_key, read_signing_key
from cloud_hub.settings import BROKER_URL, SIGNING_KEY_FILE, HubSettings
from cloud_hub.work.worker import MORE, Duty

_RETRY_S = 2.0
_MINUTE_S = 60.0

log = structlog.get_logger(__name__)


def order_duties(settings: HubSettings) -> list[Duty]:
    """Return the duties; none where there is no broker or no key to sign with.

    Raises: SettingsError when the key cannot be made or read.
    """
    missing = SIGNING_KEY_FILE if settings.signing_key_path is None else BROKER_URL
    if settings.signing_key_path is None or settings.broker_url is None:
        log.warning("orders_not_sent", reason=f"{missing} is not set")
        return []
    sender = _Sender(settings)
    return [Duty("orders", _RETRY_S, sender.send), Duty("missed_configurations", _MINUTE_S, repeat_missed)]


class _Sender:
    """Sends orders, and tells once which key signs them."""

    def __init__(self, settings: HubSettings) -> None:
        self._settings = settings
        self._dispatcher: Dispatcher | None = None

    def send(self, engine: Engine) -> object:
        """Send what is due and wait for more."""
        if self._dispatcher is None:
            key = prepare_signing_key(engine, self._settings) or read_signing_key(self._settings.signing_key_file)
            self._dispatcher = Dispatcher(OrderLine(self._settings.broker), key)
        return MORE if self._dispatcher.serve(engine) else None
