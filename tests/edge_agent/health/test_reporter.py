"""Health is sent now and then, and soon after a meter's state has changed."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from edge_agent.buffer.stats import BufferStats
from edge_agent.errors import BrokerUnreachable
from edge_agent.health.reporter import HealthReporter
from edge_agent.polling.status import MeterState, MeterStatus
from protocol.messages import Health, decode_health, encode_health

DEADLINE_S = 30
NOW_MS = 1_760_000_000_000
STATS = BufferStats(
    held=10,
    uncommitted=4,
    oldest_ms=NOW_MS,
    oldest_uncommitted_ms=None,
    file_bytes=4096,
    used_bytes=2048,
    max_bytes=1 << 24,
    disk_free_bytes=1 << 30,
)


async def stats() -> BufferStats:
    return STATS


def make_reporter(
    send: Callable[[Health], Awaitable[None]], *, every_s: float = 3600, change_pause_s: float = 0.01
) -> HealthReporter:
    status = MeterStatus(state=MeterState.UNREACHABLE, since_ms=NOW_MS, last_error="did not answer", polls_failed=3)
    return HealthReporter(
        statuses=lambda: {"heater": status},
        buffer_stats=stats,
        recorder_counters=lambda: {"waiting_in_memory": 3, "is_storage_failing": True},
        uplink_counters=lambda: {"bytes_up": 5},
        send=send,
        now_ms=lambda: NOW_MS,
        agent_version="1.2.3",
        every_s=every_s,
        change_pause_s=change_pause_s,
    )


def run_until_sent(reporter: HealthReporter, sent: asyncio.Semaphore, count: int, use: Callable[[], None]) -> None:
    async def inner() -> None:
        task = asyncio.create_task(reporter.run())
        use()
        async with asyncio.timeout(DEADLINE_S):
            for _ in range(count):
                await sent.acquire()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(inner())


def test_report_holds_meters_buffer_and_line_and_survives_the_way() -> None:
    async def send(_: Health) -> None:
        """Take it."""

    health = asyncio.run(make_reporter(send).collect())
    arrived = decode_health(encode_health(health))
    assert arrived.agent_version == "1.2.3"
    assert arrived.meters["heater"]["state"] == "unreachable"
    assert arrived.meters["heater"]["last_error"] == "did not answer"
    assert (arrived.buffer["uncommitted"], arrived.uplink["bytes_up"]) == (4, 5)
    assert (arrived.buffer["waiting_in_memory"], arrived.buffer["is_storage_failing"]) == (3, True)


def test_change_is_told_without_waiting_for_the_period() -> None:
    sent = asyncio.Semaphore(0)

    async def send(_: Health) -> None:
        sent.release()

    reporter = make_reporter(send)
    run_until_sent(reporter, sent, 1, reporter.changed)


def test_report_is_repeated_each_period() -> None:
    sent = asyncio.Semaphore(0)

    async def send(_: Health) -> None:
        sent.release()

    run_until_sent(make_reporter(send, every_s=0.05), sent, 3, lambda: None)


def test_report_that_finds_no_line_is_tried_again() -> None:
    sent = asyncio.Semaphore(0)

    async def send(_: Health) -> None:
        sent.release()
        raise BrokerUnreachable("no line")

    reporter = make_reporter(send)
    run_until_sent(reporter, sent, 2, reporter.changed)
