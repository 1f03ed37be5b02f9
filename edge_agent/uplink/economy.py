"""What the line costs: counts the month's bytes, keeps them within the budget, and says so.

Counted are IP packets: those of our own connection as the kernel knows them, or all of the interface
that the settings name. What a network bills besides (its own rounding, say) nobody on this side knows.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import structlog

from edge_agent.buffer.buffer import Buffer
from edge_agent.domain.budget import Budget, Level, MonthTraffic
from edge_agent.domain.send_schedule import SendPlan
from edge_agent.errors import StorageUnavailable
from edge_agent.settings import UplinkSettings
from edge_agent.uplink.uplink import Uplink
from protocol.site_config import UplinkPolicy

_LOOK_EVERY_S = 60.0
_KEEP_EVERY_S = 3600.0
"""Each record costs a transaction; a power cut forgets what was counted since the last one."""
_MONTH, _BYTES, _BUDGET_STEP, _KEEPALIVE = "traffic_month", "traffic_bytes", "budget_step", "keepalive_s"
_MEGABYTE = 1_000_000
_WHOLE_MONTH_OF_BACKLOG_S = 6 * 3600
"""With a budget, what waited through an outage is sent at a pace that would need so long for a month's bytes."""

log = structlog.get_logger()


class EconomyClock(Protocol):
    """What is needed of a clock."""

    @property
    def is_trusted(self) -> bool:
        """Say whether UTC is known."""

    def now_ms(self) -> int:
        """Return UTC milliseconds since 1970, as well as they are known."""


class Sender(Protocol):
    """What is steered; `edge_agent.uplink.forwarder` is the one in use."""

    def follow(self, plan: SendPlan, *, backlog_bytes_per_s: int) -> None:
        """Send by another plan from now on."""

    def widen(self, at_least_every_s: float) -> None:
        """Send live scans no more often than this; 0 ends it."""


class Economy:
    """Counts, forecasts and saves, for as long as `run` runs."""

    def __init__(
        self,
        *,
        settings: UplinkSettings,
        policy: UplinkPolicy,
        buffer: Buffer,
        uplink: Uplink,
        sender: Sender,
        clock: EconomyClock,
        thin_gauges: Callable[[int], None],
        on_change: Callable[[], None] = lambda: None,
        interfaces: Path = Path("/sys/class/net"),
    ) -> None:
        """Steer `sender` by settings and policy at once.

        `thin_gauges` is told of how many reports of a gauge one is to be kept, 1 = all; `on_change` is
        called when there is something to say in health.
        """
        self._settings, self._buffer, self._uplink, self._sender = settings, buffer, uplink, sender
        self._clock, self._thin_gauges, self._on_change = clock, thin_gauges, on_change
        self._month, self._budget = MonthTraffic(), Budget()
        self._counted = 0
        self._kept: dict[str, int] = {}
        self._keep_due_s = 0.0
        self._level, self._keep_every = Level(), 1
        self._worth_keeping = asyncio.Event()
        uplink.on_keepalive_learnt = self._worth_keeping.set
        self._counter: Callable[[], int] = (
            (lambda: uplink.line_bytes.total)
            if settings.interface is None
            else InterfaceCounter(interfaces / settings.interface).read
        )
        self.follow(policy)

    def follow(self, policy: UplinkPolicy) -> None:
        """Go by another site configuration from now on."""
        plan = send_plan(self._settings, policy)
        megabytes = _first(policy.monthly_budget_mb, self._settings.monthly_budget_mb)
        limit = None if megabytes is None else round(megabytes * _MEGABYTE)
        thins = bool(_first(policy.thin_gauges, self._settings.thin_gauges))
        self._budget.follow(limit_bytes=limit, send_interval_s=plan.interval_s, thin_gauges=thins)
        pace = self._settings.backlog_bytes_per_s
        if not pace and limit is not None:
            pace = max(1, limit // _WHOLE_MONTH_OF_BACKLOG_S)
        self._plan = plan
        self._sender.follow(plan, backlog_bytes_per_s=pace)
        self._apply_level()

    async def run(self) -> None:
        """Count and steer until cancelled.

        Raises: BufferCorrupt.
        """
        await self._load()
        while True:
            self._look()
            if self._worth_keeping.is_set() or time.monotonic() >= self._keep_due_s:
                await self.keep()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._worth_keeping.wait()

    async def keep(self) -> None:
        """Count once more, and write down what the next run needs to know; a disk that refuses is asked later.

        Raises: BufferCorrupt.
        """
        self._worth_keeping.clear()
        self._keep_due_s = time.monotonic() + _KEEP_EVERY_S
        self._count()
        states = {
            _MONTH: self._month.month,
            _BYTES: self._month.used_bytes,
            _BUDGET_STEP: self._budget.index,
            _KEEPALIVE: self._uplink.keepalive.learnt_s,
        }
        if states != self._kept:
            with suppress(StorageUnavailable):
                await self._buffer.keep_states(states)
                self._kept = states

    def report(self) -> dict[str, Any]:
        """Say for health what the month has cost so far, what it will cost, and what is done about it."""
        now_ms = self._clock.now_ms()
        return {
            "month_bytes": self._month.used_bytes,
            "forecast_bytes": self._budget.forecast_bytes(self._month.used_bytes, now_ms),
            "budget_bytes": self._budget.limit_bytes,
            "stage": self._budget.level.stage.value,
            "send_every_s": max(self._plan.interval_s, self._budget.level.send_at_least_every_s),
            "keep_every": self._budget.level.keep_every,
            "keepalive_s": self._uplink.keepalive.in_use_s,
            "interface": self._settings.interface,
        }

    async def _load(self) -> None:
        with suppress(StorageUnavailable):
            self._kept = await self._buffer.states((_MONTH, _BYTES, _BUDGET_STEP, _KEEPALIVE))
            self._month.month = self._kept[_MONTH]
            self._month.used_bytes += self._kept[_BYTES]
            self._budget.index = self._kept[_BUDGET_STEP]
            self._uplink.keepalive.learnt_s = self._kept[_KEEPALIVE]
            self._apply_level()
        self._keep_due_s = time.monotonic() + _KEEP_EVERY_S

    def _count(self) -> bool:
        """Add what passed since the last time; True when a new month began."""
        counted = self._counter()
        passed, self._counted = counted - self._counted, counted
        return self._month.add(passed, self._clock.now_ms(), is_clock_trusted=self._clock.is_trusted)

    def _look(self) -> None:
        if self._count():
            self._budget.month_turned()
        self._budget.observe(self._month.used_bytes, self._clock.now_ms(), time.monotonic())
        if self._budget.level != self._level:
            self._say_level()
            self._apply_level()
            self._on_change()

    def _apply_level(self) -> None:
        level = self._level = self._budget.level
        self._sender.widen(level.send_at_least_every_s)
        if level.keep_every != self._keep_every:
            self._keep_every = level.keep_every
            self._thin_gauges(level.keep_every)
        self._uplink.keepalive.suit(max(self._plan.interval_s, level.send_at_least_every_s))

    def _say_level(self) -> None:
        level, report = self._budget.level, self.report()
        event = "budget_saving" if level.stage != "normal" else "budget_at_ease"
        keys = ("month_bytes", "forecast_bytes", "budget_bytes", "stage", "send_every_s", "keep_every")
        log.warning(event, **{key: report[key] for key in keys})


class InterfaceCounter:
    """Counts a network interface's bytes from its making on; it may vanish and come back with a count of its own."""

    def __init__(self, directory: Path) -> None:
        self._files = [directory / "statistics" / name for name in ("rx_bytes", "tx_bytes")]
        self._total = 0
        self._seen = self._now() or 0

    def read(self) -> int:
        """Return the bytes so far; those of a time in which it was not there count as none."""
        now = self._now()
        if now is not None:
            self._total += now - self._seen if now >= self._seen else now
            self._seen = now
        return self._total

    def _now(self) -> int | None:
        try:
            return sum(int(file.read_text(encoding="ascii")) for file in self._files)
        except (OSError, ValueError):
            return None


def send_plan(settings: UplinkSettings, policy: UplinkPolicy) -> SendPlan:
    """Put together when to send: the site configuration's word, else the controller's own settings."""
    return SendPlan(
        send=policy.send or settings.send,
        every_s=_first(policy.every_s, settings.send_every_s),
        spread_s=_first(policy.spread_s, settings.spread_s),
    )


def _first(said: Any, otherwise: Any) -> Any:  # noqa: ANN401 - whatever the two are
    return otherwise if said is None else said
