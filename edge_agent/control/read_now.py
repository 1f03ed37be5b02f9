"""Visit meters now, answer with what they say, and record it as scans."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Protocol

from edge_agent.control.commands import Deed, parse_arguments
from edge_agent.control.meters import require_meters
from edge_agent.polling.meter_reader import Visit
from protocol.command_arguments import ReadArguments
from protocol.control import Command
from protocol.quality import Quality, quality_name
from protocol.site.plan import MeterPlan, SitePlan


class Reader(Protocol):
    """Who visits; `edge_agent.polling.supervisor` does."""

    async def read_now(self, meter_ids: Collection[str] | None = None) -> dict[str, tuple[Visit, ...]]:
        """Visit meters (None: all), record, and return a visit per group, by meter."""


def prepare_read(command: Command, *, plan: Callable[[], SitePlan], reader: Reader) -> Deed:
    """Check the arguments.

    Raises: OrderRefused.
    """
    meters = require_meters(plan(), parse_arguments(ReadArguments, command).meter)
    return partial(_read, meters, plan(), reader)


async def _read(meters: Sequence[str] | None, plan: SitePlan, reader: Reader) -> dict[str, Any]:
    visits = await reader.read_now(meters)
    by_id = {meter.config.id: meter for meter in plan.meters}
    return {"meters": {meter_id: _report(by_id[meter_id], of_meter) for meter_id, of_meter in visits.items()}}


def _report(meter: MeterPlan, visits: Sequence[Visit]) -> dict[str, Any]:
    """Name the values. A point that was not asked for is missing, and `error` says why."""
    values: dict[str, float | None] = {}
    doubts: dict[str, str] = {}
    for group, visit in zip(meter.groups, visits, strict=False):
        for slot, point in enumerate(group.points):
            values[point.name] = visit.scan.values[slot]
            code = visit.scan.quality_at(slot)
            if code != Quality.GOOD:
                doubts[point.name] = quality_name(code)
    faults = [str(fault) for visit in visits if (fault := visit.silence or visit.garbling or visit.refusal)]
    return {
        "observed_at_ms": max(visit.scan.observed_at_ms for visit in visits),
        "values": values,
        "quality": doubts,
        "error": faults[0] if faults else "",
    }
