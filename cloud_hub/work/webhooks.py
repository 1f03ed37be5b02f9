"""Duties about events: their places, the messages that webhooks get of them, and the end of both."""

from collections.abc import Callable

from sqlalchemy import Engine

from cloud_hub.events.order import BATCH, purge_events
from cloud_hub.settings import HubSettings
from cloud_hub.webhooks.addresses import Gate
from cloud_hub.webhooks.delivering import Courier, give_up_waiting, purge_deliveries
from cloud_hub.webhooks.fanning import fan_out
from cloud_hub.webhooks.policy import read_policy
from cloud_hub.work.worker import MORE, Duty

COURIERS = 8
"""Threads that send, in each process. Half of them leave slow receivers to the other half."""

_PLACES_S = 0.5
_SEND_S = 1.0
_HOUR_S = 3600.0


def event_duties(settings: HubSettings) -> list[Duty]:
    """Return what is done about events.

    Raises: SettingsError when what is set about webhooks makes no sense.
    """
    gate = Gate(read_policy(settings.webhooks))
    return [
        Duty("events", _PLACES_S, _place),
        *(Duty(f"webhooks-{n + 1}", _SEND_S, _courier(gate, quick_only=n % 2 == 0)) for n in range(COURIERS)),
        Duty("events_end", _HOUR_S, _end),
    ]


def _place(engine: Engine) -> object:
    return MORE if fan_out(engine) == BATCH else None


def _courier(gate: Gate, *, quick_only: bool) -> Callable[[Engine], object]:
    def deliver(engine: Engine) -> object:
        return MORE if Courier(engine, gate).deliver_some(quick_only=quick_only) else None

    return deliver


def _end(engine: Engine) -> None:
    give_up_waiting(engine)
    purge_deliveries(engine)
    purge_events(engine)
