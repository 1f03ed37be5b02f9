"""Sample often and send at once while somebody at the hub looks."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Protocol

from edge_agent.control.commands import Deed, parse_arguments
from edge_agent.control.meters import require_meters
from protocol.command_arguments import LiveArguments
from protocol.control import Command
from protocol.site.plan import SitePlan


class LiveClock(Protocol):
    """What is asked of a clock here."""

    def now_ms(self) -> int:
        """Return UTC milliseconds since 1970."""

    def monotonic_ms(self) -> int:
        """Return milliseconds since boot."""


class Sampler(Protocol):
    """Who samples; `edge_agent.polling.supervisor` does."""

    def go_live(self, *, period_ms: int, until_monotonic_ms: int, meter_ids: Collection[str] | None = None) -> None:
        """Sample these meters, or all, at least each `period_ms` until then, and record each sample."""


class Sender(Protocol):
    """Who sends; `edge_agent.uplink.forwarder` does."""

    def send_at_once(self, until_monotonic_ms: int) -> None:
        """Send each scan as soon as it is stored until then."""


def prepare_live(
    command: Command, *, plan: Callable[[], SitePlan], clock: LiveClock, sampler: Sampler, sender: Sender
) -> Deed:
    """Check the arguments.

    Raises: OrderRefused.
    """
    arguments = parse_arguments(LiveArguments, command)
    meters = require_meters(plan(), arguments.meter)
    return partial(_go_live, arguments, meters, clock, sampler, sender)


async def _go_live(
    arguments: LiveArguments, meters: Sequence[str] | None, clock: LiveClock, sampler: Sampler, sender: Sender
) -> dict[str, Any]:
    lasts_ms = round(arguments.minutes * 60_000)
    until_ms = clock.monotonic_ms() + lasts_ms
    sampler.go_live(period_ms=round(arguments.period_s * 1000), until_monotonic_ms=until_ms, meter_ids=meters)
    sender.send_at_once(until_ms)
    return {"until_ms": clock.now_ms() + lasts_ms, "period_s": arguments.period_s}
