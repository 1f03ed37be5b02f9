import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from edge_factories import opened
from hub_client import until

from edge_agent.domain.budget import month_of
from edge_agent.domain.send_schedule import SendPlan
from edge_agent.settings import UplinkSettings
from edge_agent.uplink.connection import BrokerLogin
from edge_agent.uplink.economy import Economy, InterfaceCounter, send_plan
from edge_agent.uplink.uplink import Uplink
from protocol.site_config import SendSchedule, UplinkPolicy

NOW_MS = 1_773_000_000_000
"""In March 2026."""


@dataclass
class Sent:
    """Keeps how it is steered."""

    plan: SendPlan | None = None
    pace: int = 0
    at_least_every_s: float = 0

    def follow(self, plan: SendPlan, *, backlog_bytes_per_s: int) -> None:
        self.plan, self.pace = plan, backlog_bytes_per_s

    def widen(self, at_least_every_s: float) -> None:
        self.at_least_every_s = at_least_every_s


@dataclass
class SetClock:
    """Shows what it is set to."""

    ms: int = NOW_MS
    is_trusted: bool = True

    def now_ms(self) -> int:
        return self.ms


@dataclass
class Rig:
    """An economy and all that it steers; the interface's counter is a file."""

    directory: Path
    settings: UplinkSettings = field(default_factory=UplinkSettings)
    policy: UplinkPolicy = field(default_factory=UplinkPolicy)
    sender: Sent = field(default_factory=Sent)
    clock: SetClock = field(default_factory=SetClock)
    thinned: list[int] = field(default_factory=list)
    uplink: Uplink = field(init=False)

    def __post_init__(self) -> None:
        self.settings = self.settings.model_copy(update={"interface": "wwan0"})
        (self.directory / "wwan0" / "statistics").mkdir(parents=True, exist_ok=True)
        self.passed(0)

    def passed(self, total_bytes: int) -> None:
        statistics = self.directory / "wwan0" / "statistics"
        (statistics / "rx_bytes").write_text(f"{total_bytes // 2}\n")
        (statistics / "tx_bytes").write_text(f"{total_bytes - total_bytes // 2}\n")

    async def live(self, *, total_bytes: int = 0) -> dict[str, object]:
        """Run once with a buffer, let so many bytes pass, keep them, and return its report."""
        self.uplink = Uplink(controller_id="hut-0001", login=BrokerLogin("127.0.0.1", 1))
        async with opened(self.directory) as buffer:
            economy = Economy(
                settings=self.settings,
                policy=self.policy,
                buffer=buffer,
                uplink=self.uplink,
                sender=self.sender,
                clock=self.clock,
                thin_gauges=self.thinned.append,
                interfaces=self.directory,
            )
            task = asyncio.create_task(economy.run())
            await until(lambda: economy._keep_due_s)
            self.passed(total_bytes)
            await economy.keep()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            return economy.report()


def test_the_site_configuration_wins_where_it_says_something() -> None:
    settings = UplinkSettings(send=SendSchedule.EVERY, send_every_s=300, spread_s=100)
    assert send_plan(settings, UplinkPolicy()) == SendPlan(SendSchedule.EVERY, 300, 100)
    said = UplinkPolicy(send=SendSchedule.HALF_HOUR, spread_s=0)
    assert send_plan(settings, said) == SendPlan(SendSchedule.HALF_HOUR, 300, 0)


def test_bytes_of_the_month_survive_a_restart(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    first = asyncio.run(rig.live(total_bytes=1000))
    assert first["month_bytes"] == 1000
    again = asyncio.run(rig.live(total_bytes=1500))
    assert again["month_bytes"] == 1500


def test_a_new_month_counts_from_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    asyncio.run(rig.live(total_bytes=1000))
    rig.clock.ms = NOW_MS + 31 * 86_400_000
    assert month_of(rig.clock.ms) != month_of(NOW_MS)
    report = asyncio.run(rig.live(total_bytes=1200))
    assert report["month_bytes"] == 200


def test_with_a_budget_the_backlog_gets_a_pace_of_its_own(tmp_path: Path) -> None:
    rig = Rig(tmp_path, policy=UplinkPolicy(monthly_budget_mb=2.16))
    report = asyncio.run(rig.live())
    assert report["budget_bytes"] == 2_160_000
    assert rig.sender.pace == 100
    rig = Rig(tmp_path, settings=UplinkSettings(monthly_budget_mb=5, backlog_bytes_per_s=7))
    asyncio.run(rig.live())
    assert rig.sender.pace == 7


def test_half_hourly_batches_ask_for_a_keepalive_that_needs_no_sign_of_life(tmp_path: Path) -> None:
    rig = Rig(tmp_path, policy=UplinkPolicy(send=SendSchedule.HALF_HOUR))
    report = asyncio.run(rig.live())
    assert report["keepalive_s"] == 2160


def test_what_the_line_taught_survives_a_restart(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    async def run() -> None:
        async with opened(tmp_path) as buffer:
            await buffer.keep_states({"keepalive_s": 300})

    asyncio.run(run())
    assert asyncio.run(rig.live())["keepalive_s"] == 300


def test_a_step_of_saving_survives_a_restart_and_is_applied(tmp_path: Path) -> None:
    rig = Rig(tmp_path, policy=UplinkPolicy(monthly_budget_mb=1, thin_gauges=True))

    async def run() -> None:
        async with opened(tmp_path) as buffer:
            await buffer.keep_states({"traffic_month": month_of(NOW_MS), "budget_step": 7})

    asyncio.run(run())
    report = asyncio.run(rig.live())
    assert (report["stage"], report["send_every_s"], report["keep_every"]) == ("thin", 1800, 4)
    assert rig.sender.at_least_every_s == 1800
    assert rig.thinned == [4]


@pytest.mark.parametrize("vanished", [False, True], ids=["started anew", "was gone for a while"])
def test_an_interface_that_counts_anew_loses_nothing_that_was_counted(tmp_path: Path, vanished: bool) -> None:  # noqa: FBT001 - a fact of the case
    rig = Rig(tmp_path)
    rig.passed(1000)
    counter = InterfaceCounter(tmp_path / "wwan0")
    rig.passed(1600)
    assert counter.read() == 600
    if vanished:
        (tmp_path / "wwan0" / "statistics" / "rx_bytes").unlink()
        assert counter.read() == 600
    rig.passed(50)
    assert counter.read() == 650
