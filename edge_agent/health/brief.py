"""The health of a collector fits a message: of thousands of meters only those are named that are not as usual. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from protocol.messages import Health

NAMED_MAX = 100
"""Up to so many meters, buses and routers are all named."""

_USUAL_STATES = frozenset({"good", "never_asked"})
_WEAK_SIGNALS = frozenset({"poor", "none"})

_Table = Mapping[str, Mapping[str, Any]]


def in_brief(health: Health) -> Health:
    """Return the health as it is sent: complete for a site, and for a collector what stands out, with counts of all."""
    if max(len(health.meters), len(health.buses), len(health.routers)) <= NAMED_MAX:
        return health
    return health.model_copy(
        update={
            "meters": _outstanding(health.meters, _is_unusual_meter),
            "buses": _outstanding(health.buses, lambda bus: bool(bus.get("restarts"))),
            "routers": _outstanding(health.routers, lambda router: router.get("signal") in _WEAK_SIGNALS),
            "counts": {
                "meters": Counter(meter["state"] for meter in health.meters.values()),
                "buses": len(health.buses),
                "routers": len(health.routers),
            },
        }
    )


def _outstanding(table: _Table, is_unusual: Callable[[Mapping[str, Any]], bool]) -> dict[str, Mapping[str, Any]]:
    if len(table) <= NAMED_MAX:
        return dict(table)
    return dict(islice(((name, report) for name, report in table.items() if is_unusual(report)), NAMED_MAX))


def _is_unusual_meter(meter: Mapping[str, Any]) -> bool:
    return meter["state"] not in _USUAL_STATES or bool(meter.get("refused_points"))
