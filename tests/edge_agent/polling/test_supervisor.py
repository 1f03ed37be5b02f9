"""A bus whose loop fails or stands still is begun anew, and nobody else notices; plans are exchanged in place."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from polling_factories import Meters, Recorded, SettableClock, until
from scripted_modbus import scripted_server
from site_factories import make_meter_config, make_point, make_profile
from structlog.testing import capture_logs

from edge_agent.bus.bus import ModbusBus
from edge_agent.errors import AgentError
from edge_agent.polling.meter_reader import bus_of
from edge_agent.polling.status import Circuit, MeterState, MeterStatus, meters_line
from edge_agent.polling.supervisor import Supervisor
from edge_agent.site.compile import compile_site
from protocol.profile import Table
from protocol.site.plan import BusPlan, MeterPlan, SitePlan
from protocol.site_config import SiteConfig

PROFILE = make_profile([make_point()])
SUMMARY = {"policy": "aggregate", "every_s": 1800}


def make_plan(buses: dict[str, tuple[int, Sequence[dict[str, Any]]]], *, timeout_s: float = 0.15) -> SitePlan:
    """Compile a site from ports and meters by the id of their bus."""
    config = {
        "buses": [
            {"id": bus, "host": "127.0.0.1", "port": port, "timeout_s": timeout_s, "meters": list(meters)}
            for bus, (port, meters) in buses.items()
        ],
        "profiles": [PROFILE],
    }
    return compile_site(SiteConfig.model_validate(config), "site.toml")


@dataclass
class Site:
    """Two gateways and a supervisor at work on them."""

    ports: tuple[int, int]
    behind: tuple[Meters, Meters]
    recorded: Recorded
    clock: SettableClock
    supervisor: Supervisor
    logs: list[Any]

    def polls(self, meter: str) -> int:
        """Return how often a meter answered."""
        return self.supervisor.statuses[meter].polls_ok

    async def until_polled(self, *meters: str, times: int = 2) -> None:
        """Wait until each of the meters has answered so often again."""
        before = {meter: self.polls(meter) for meter in meters}
        await until(lambda: all(self.polls(meter) >= before[meter] + times for meter in meters))


class BrokenLine(ModbusBus):
    """A bus whose code fails, or never comes back, as long as it is told so."""

    fails = False
    hangs = False

    async def read(self, **request: Any) -> Sequence[int]:
        """Fail, hang, or read."""
        if self.fails:
            raise ZeroDivisionError("a fault of ours")
        if self.hangs:
            await asyncio.Event().wait()
        return await super().read(**request)


@asynccontextmanager
async def running(
    first: Sequence[dict[str, Any]] = (),
    *,
    open_bus: Callable[[BusPlan], ModbusBus] = bus_of,
    timeout_s: float = 0.15,
    allowance_s: float = 15,
    lines_at_once: int = 400,
) -> AsyncIterator[Site]:
    """Supervise the buses `a`, with the meters `first` or one, and `b`, with the meter `mb`."""
    behind = (Meters(), Meters())
    async with scripted_server(behind[0].answer) as one, scripted_server(behind[1].answer) as two:
        ports = (one.port, two.port)
        recorded, clock, stopping = Recorded(), SettableClock(), asyncio.Event()
        plan = make_plan(two_buses(ports, first), timeout_s=timeout_s)
        with capture_logs() as logs:
            supervisor = Supervisor(
                plan=plan,
                sink=recorded,
                clock=clock,
                on_change=lambda: None,
                open_bus=open_bus,
                allowance_s=allowance_s,
                lines_at_once=lines_at_once,
            )
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(supervisor.run(stopping))
                try:
                    yield Site(ports, behind, recorded, clock, supervisor, logs)
                finally:
                    stopping.set()
        assert recorded.open_cycles == 0


def two_buses(ports: tuple[int, int], first: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    return {"a": (ports[0], list(first) or [make_meter_config("ma")]), "b": (ports[1], [make_meter_config("mb")])}


@pytest.mark.parametrize("fault", ["fails", "hangs"])
def test_bus_that_fails_or_stands_still_is_begun_anew_while_the_other_goes_on(fault: str) -> None:
    lines: dict[str, BrokenLine] = {}

    def open_bus(plan: BusPlan) -> ModbusBus:
        lines[plan.config.id] = BrokenLine(plan.config)
        return lines[plan.config.id]

    async def inner() -> None:
        async with running(open_bus=open_bus, timeout_s=0.03, allowance_s=0.3) as site:
            await site.until_polled("ma", "mb")
            setattr(lines["a"], fault, True)
            await until(lambda: site.supervisor.bus_statuses["a"].restarts > 0)
            await site.until_polled("mb")
            setattr(lines["a"], fault, False)
            site.clock.slept_ms += 60_000
            await site.until_polled("ma")
            bus = site.supervisor.bus_statuses["a"]
            assert ("ZeroDivisionError" if fault == "fails" else "stood still") in str(bus.last_restart_reason)
            assert site.supervisor.bus_statuses["b"].restarts == 0
            said = [entry["bus"] for entry in site.logs if entry["event"] == "bus_restarted"]
            assert set(said) == {"a"}

    asyncio.run(inner())


def test_bus_that_a_plan_does_not_change_keeps_its_connection_and_its_memory() -> None:
    async def inner() -> None:
        async with running([make_meter_config("ma", report=SUMMARY)]) as site:
            await site.until_polled("ma", "mb")
            before = [kept.poller for kept in site.supervisor._kept.values()]
            extra = make_meter_config("extra", unit_id=2)
            changed = {
                "z": (site.ports[1] ^ 1, [make_meter_config("mz")]),
                **two_buses(site.ports, [make_meter_config("ma", report=SUMMARY)]),
            }
            changed["b"] = (site.ports[1], [make_meter_config("mb"), extra])
            plan = make_plan(changed)
            await site.supervisor.reconfigure(plan)
            assert site.supervisor._kept["a"].poller is before[0]
            assert site.supervisor._kept["b"].poller is not before[1]
            await site.until_polled("ma", "mb", "extra")
            assert list(site.supervisor.statuses) == ["mz", "ma", "mb", "extra"]
            assert site.behind[0].asked
            assert site.supervisor.bus_statuses["a"].line["connects"] == 1
            site.recorded.scans.clear()
        # The summary that began before the change is recorded at the end, under its new number.
        [summary] = [scan for scan in site.recorded.scans if plan.manifest.layouts[scan.layout].meter == "ma"]
        assert plan.manifest.layouts[summary.layout].policy == "aggregate"
        assert (summary.values[-1] or 0) >= 4

    asyncio.run(inner())


def test_summary_of_a_changed_bus_is_recorded_before_the_plans_are_switched() -> None:
    async def inner() -> None:
        async with running([make_meter_config("ma", report=SUMMARY)]) as site:
            await site.until_polled("ma")
            seen: list[int] = []

            async def switch() -> None:
                seen.append(len(site.recorded.of(0)))
                await asyncio.sleep(0)
                assert all(kept.poller.turn.locked() for bus, kept in site.supervisor._kept.items() if bus == "b")
                site.recorded.scans.clear()

            await site.supervisor.reconfigure(make_plan(two_buses(site.ports)), switch=switch)
            assert seen == [1]
            await site.until_polled("ma", "mb")
            assert {scan.layout for scan in site.recorded.scans} == {0, 1}

    asyncio.run(inner())


def test_switch_that_fails_leaves_the_old_plan_in_force() -> None:
    async def inner() -> None:
        async with running() as site:
            await site.until_polled("ma", "mb")

            async def switch() -> None:
                raise AgentError("the disk is full")

            gone = make_plan({"b": (site.ports[1], [make_meter_config("mb"), make_meter_config("new", unit_id=3)])})
            with pytest.raises(AgentError, match="disk is full"):
                await site.supervisor.reconfigure(gone, switch=switch)
            assert list(site.supervisor.statuses) == ["ma", "mb"]
            await site.until_polled("ma", "mb")

    asyncio.run(inner())


def test_bus_that_is_gone_from_the_plan_is_asked_no_more() -> None:
    async def inner() -> None:
        async with running() as site:
            await site.until_polled("ma", "mb")
            await site.supervisor.reconfigure(make_plan({"b": (site.ports[1], [make_meter_config("mb")])}))
            asked = len(site.behind[0].asked)
            await site.until_polled("mb", times=3)
            assert len(site.behind[0].asked) == asked
            assert {scan.layout for scan in site.recorded.scans[-3:]} == {0}

    asyncio.run(inner())


def test_reading_now_returns_what_each_meter_says() -> None:
    async def inner() -> None:
        async with running([make_meter_config("ma", period_s=1800)]) as site:
            visits = await site.supervisor.read_now()
            assert {meter: visit.scan.values for meter, [visit] in visits.items()} == {"ma": (231.2,), "mb": (231.2,)}
            assert list(await site.supervisor.read_now({"mb"})) == ["mb"]
            assert site.supervisor.statuses["ma"].state is MeterState.GOOD
            with pytest.raises(AgentError, match=r"there is no meter 'mbb' here \(did you mean"):
                await site.supervisor.read_now({"mbb"})

    asyncio.run(inner())


def test_deed_on_a_bus_has_it_alone() -> None:
    async def inner() -> None:
        async with running([make_meter_config("ma", period_s=0.05)]) as site:

            async def deed(bus: ModbusBus, meter: MeterPlan) -> Sequence[int]:
                before = len(site.behind[0].asked)
                words = await bus.read(unit_id=9, table=Table.HOLDING_REGISTER, address=0, count=1)
                assert [asked.unit_id for asked in site.behind[0].asked[before:]] == [9]
                assert meter.config.id == "ma"
                return words

            assert list(await site.supervisor.on_bus("ma", deed)) == [2312]

    asyncio.run(inner())


def test_thinning_reaches_buses_that_come_later() -> None:
    async def inner() -> None:
        async with running() as site:
            site.supervisor.thin_gauges(4)
            plan = make_plan(two_buses(site.ports, [make_meter_config("ma"), make_meter_config("new", unit_id=2)]))
            await site.supervisor.reconfigure(plan)
            assert {status.keep_every for status in site.supervisor.statuses.values()} == {4}

    asyncio.run(inner())


def test_silent_meters_are_named_in_the_one_line() -> None:
    statuses = {f"m{n}": MeterStatus(circuit=Circuit.OPEN) for n in range(7)} | {"good": MeterStatus()}
    assert meters_line(statuses) == "8 meters, 7 silent: m0, m1, m2, m3, m4 ..."
    assert meters_line({"good": MeterStatus()}) == "1 meters, none silent"


def test_only_so_many_buses_are_polled_at_once_and_who_queues_is_not_taken_for_dead() -> None:
    lines: dict[str, BrokenLine] = {}

    def open_bus(plan: BusPlan) -> ModbusBus:
        lines[plan.config.id] = BrokenLine(plan.config)
        return lines[plan.config.id]

    async def inner() -> None:
        async with running(open_bus=open_bus, timeout_s=0.03, allowance_s=0.3, lines_at_once=1) as site:
            await site.until_polled("ma", "mb")
            lines["a"].hangs = True
            # The other queues behind the one that hangs, until that is begun anew and gives way.
            overdue_while_queueing: set[bool] = set()

            def is_begun_anew_twice() -> bool:
                if site.supervisor._kept["b"].poller.is_queueing:
                    overdue_while_queueing.add(site.supervisor.progress["b"].is_overdue)
                return site.supervisor.bus_statuses["a"].restarts > 1

            await until(is_begun_anew_twice)
            assert site.supervisor.bus_statuses["b"].restarts == 0
            assert overdue_while_queueing == {False}
            lines["a"].hangs = False
            await site.until_polled("ma", "mb")

    asyncio.run(inner())
