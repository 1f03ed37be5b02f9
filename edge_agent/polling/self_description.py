"""What a device says of itself, read now and then: identity, and of a router its operator, network and address."""

import re
from collections.abc import Mapping
from typing import Any

from edge_agent.bus.bus import ModbusBus
from edge_agent.clock.clock import Clock
from edge_agent.domain.signal import classify_signal
from edge_agent.polling.block_reader import BlockReader
from protocol.site.plan import MeterPlan
from protocol.site.points import is_router

_EVERY_MS, _ROUTER_EVERY_MS = 3_600_000, 900_000
_SHOWN_OF_ROUTERS = {
    "operator": "operator",
    "network_type": "network_type",
    "network_registration": "registration",
    "sim_active": "sim",
    "wan_ip": "wan_ip",
    "signal_rssi": "rssi_dbm",
    "signal_rsrp": "rsrp_dbm",
    "signal_rsrq": "rsrq_db",
    "signal_sinr": "sinr_db",
    "gps_latitude": "latitude",
    "gps_longitude": "longitude",
    "uptime": "uptime_s",
}
"""By point, in the library's names."""
_COUNTS_THIS_MONTH = re.compile(r"data_(rx|tx)(_sim\d)?_month")


class SelfDescription:
    """Reads the texts of one device when they are due. What fails costs nothing but the text."""

    def __init__(self, *, meter: MeterPlan, bus: ModbusBus, clock: Clock) -> None:
        by_slot = {
            column.slot: planned.point
            for plan in meter.texts
            for column, planned in zip(plan.columns, plan.request.points, strict=True)
        }
        self._points = tuple(by_slot[slot] for slot in sorted(by_slot))
        self._blocks = BlockReader(meter=meter, bus=bus, points=self._points, plans=meter.texts, clock=clock)
        self._clock = clock
        self._every_ms = _ROUTER_EVERY_MS if is_router(meter.profile) else _EVERY_MS
        self._due_at_ms = clock.monotonic_ms() if meter.texts else None

    @property
    def is_due(self) -> bool:
        """Say whether it is time to ask."""
        return self._due_at_ms is not None and self._clock.monotonic_ms() >= self._due_at_ms

    async def read(self) -> dict[str, str]:
        """Ask the device, and return the texts that it gave, by point."""
        self._due_at_ms = self._clock.monotonic_ms() + self._every_ms
        texts: dict[str, str] = {}
        for answer in await self._blocks.ask():
            if answer.fault is not None:
                continue
            for slot, start, stop, decode in answer.plan.columns:
                value = decode(answer.words[start:stop])
                if value is not None:
                    texts[self._points[slot].name] = value if isinstance(value, str) else f"{value:.15g}"
        return texts


def describe_router(texts: Mapping[str, str], values: Mapping[str, float]) -> dict[str, Any]:
    """Sum up a cellular router: signal class, and what else it offers. `values` are the last good ones by point."""
    known: dict[str, Any] = {**values, **texts}
    shown = {key: known[point] for point, key in _SHOWN_OF_ROUTERS.items() if point in known}
    month = {name: value for name, value in values.items() if _COUNTS_THIS_MONTH.fullmatch(name)}
    signal = classify_signal(
        rssi_dbm=values.get("signal_rssi"),
        rsrp_dbm=values.get("signal_rsrp"),
        rsrq_db=values.get("signal_rsrq"),
        sinr_db=values.get("signal_sinr"),
    )
    return {"signal": signal.value, **shown, **month}
