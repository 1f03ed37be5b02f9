import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from edge_factories import make_scans, opened
from hub_client import until
from small_hub import SmallHub

from demo.mosquitto import Login, PrivateMosquitto
from demo.relay import Relay
from edge_agent.buffer.buffer import Buffer
from edge_agent.clock.clock import SystemClock
from edge_agent.domain.delivery import Policy
from edge_agent.domain.send_schedule import SendPlan
from edge_agent.uplink.connection import BrokerLogin
from edge_agent.uplink.forwarder import Forwarder
from edge_agent.uplink.uplink import Uplink
from protocol.messages import Presence, decode_hello, decode_status
from protocol.ranges import Range, RangeSet
from protocol.scans import Gap, GapReason, Scan
from protocol.topics import Down, Up

POLICY = Policy(window=4, scans_per_batch=10, ack_timeout_s=1.0)


@dataclass
class Agent:
    """The delivering half of an agent."""

    buffer: Buffer
    uplink: Uplink
    forwarder: Forwarder

    @property
    def is_done(self) -> bool:
        return self.forwarder.hub_is_there and self.forwarder.outstanding == 0

    async def store(self, scans: list[Scan]) -> Range:
        stored = await self.buffer.append(scans)
        self.forwarder.stored(stored)
        return stored


@asynccontextmanager
async def delivering(
    directory: Path,
    login: Login,
    *,
    port: int | None = None,
    policy: Policy = POLICY,
    send_every_s: float = 0.1,
    hello_every_s: float = 1.0,
) -> AsyncIterator[Agent]:
    uplink = Uplink(
        controller_id=login.username,
        login=BrokerLogin(login.host, port or login.port, login.username, login.password),
        retry_first_s=0.05,
        retry_cap_s=0.2,
    )
    async with opened(directory) as buffer:
        forwarder = Forwarder(
            buffer=buffer,
            uplink=uplink,
            policy=policy,
            agent_version="test",
            boot_id=b"boot",
            controller_id=login.username,
            send_plan=SendPlan(every_s=send_every_s),
            hello_every_s=hello_every_s,
            hello_retry_s=0.2,
        )
        tasks = [asyncio.create_task(uplink.run()), asyncio.create_task(forwarder.run())]
        try:
            yield Agent(buffer, uplink, forwarder)
            await forwarder.stop()
            await uplink.stop()
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task


@pytest.fixture
def login(broker: PrivateMosquitto) -> Login:
    return broker.add_controller(f"forwarder-{uuid.uuid4().hex[:12]}")


def test_everything_stored_is_committed_once_and_as_it_was(
    tmp_path: Path, broker: PrivateMosquitto, login: Login
) -> None:
    async def run() -> None:
        with SmallHub(broker.hub, login.username) as hub:
            async with delivering(tmp_path, login) as agent:
                await agent.store(make_scans(1, 95))
                await until(lambda: agent.is_done)
                assert _committed(hub, agent.buffer.stream_id) == make_scans(1, 95)
                assert hub.repeated == 0

    asyncio.run(run())


def test_the_newest_scans_come_first_then_the_oldest(tmp_path: Path, broker: PrivateMosquitto, login: Login) -> None:
    async def run() -> None:
        async with delivering(tmp_path, login) as agent:
            await agent.store(make_scans(1, 50))
        with SmallHub(broker.hub, login.username) as hub:
            async with delivering(tmp_path, login) as agent:
                await agent.store(make_scans(51, 80))
                old, live = [stream.stream_id for stream in await agent.buffer.streams()]
                await until(lambda: agent.is_done)
                assert hub.arrived[0] == (live, Range(21, 30))
                backlog = [item for item in hub.arrived if item[0] == old]
                assert backlog == [(old, Range(n, n + 9)) for n in range(1, 50, 10)]
                assert _committed(hub, old) == make_scans(1, 50)

    asyncio.run(run())


def test_an_unknown_manifest_is_sent_before_the_first_batch(
    tmp_path: Path, broker: PrivateMosquitto, login: Login
) -> None:
    async def run() -> None:
        with SmallHub(broker.hub, login.username) as hub:
            async with delivering(tmp_path, login) as agent:
                await agent.store(make_scans(1, 1))
                await until(lambda: agent.is_done)
                assert len(hub.payloads(Up.MANIFEST)) == 1

    asyncio.run(run())


def test_the_hub_counts_as_ready_only_when_it_knows_the_manifest(
    tmp_path: Path, broker: PrivateMosquitto, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        with SmallHub(broker.hub, login.username) as hub:
            async with delivering(tmp_path, login) as agent:
                ready_while_sent: list[bool] = []
                publish = agent.uplink.publish

                async def noting(kind: Up, payload: bytes, *, retain: bool = False) -> int:
                    if kind is Up.MANIFEST:
                        ready_while_sent.append(agent.forwarder.hub_is_there)
                    return await publish(kind, payload, retain=retain)

                monkeypatch.setattr(agent.uplink, "publish", noting)
                await until(lambda: agent.forwarder.hub_is_there)
                assert ready_while_sent == [False]
                assert len(hub.manifests) == 1

    asyncio.run(run())


def test_batches_without_an_acknowledgement_are_sent_again(
    tmp_path: Path, broker: PrivateMosquitto, login: Login
) -> None:
    async def run() -> None:
        with SmallHub(broker.hub, login.username, acks_batches=False) as hub:
            async with delivering(tmp_path, login) as agent:
                await agent.store(make_scans(1, 5))
                await until(lambda: len(hub.arrived) >= 2)
                assert agent.forwarder.outstanding == 5
                hub.acks_batches = True
                await until(lambda: agent.is_done)
                assert agent.forwarder.stats.timeouts > 0
                assert _committed(hub, agent.buffer.stream_id) == make_scans(1, 5)

    asyncio.run(run())


def test_a_cut_line_loses_nothing(tmp_path: Path, broker: PrivateMosquitto, login: Login) -> None:
    async def run() -> None:
        with Relay("127.0.0.1", login.port) as relay, SmallHub(broker.hub, login.username) as hub:
            async with delivering(tmp_path, login, port=relay.port) as agent:
                for number in range(5):
                    await agent.store(make_scans(number * 20 + 1, number * 20 + 20))
                    await until(lambda: hub.contents)
                    relay.cut()
                    await agent.store(make_scans(1001 + number, 1001 + number))
                    relay.restore()
                await until(lambda: agent.is_done)
                assert len(_committed(hub, agent.buffer.stream_id)) == 105

    asyncio.run(run())


def test_without_a_hub_nothing_is_sent_but_hellos(tmp_path: Path, broker: PrivateMosquitto, login: Login) -> None:
    async def run() -> None:
        async with delivering(tmp_path, login) as agent:
            await agent.store(make_scans(1, 5))
            await until(lambda: agent.uplink.is_connected)
            assert not agent.forwarder.hub_is_there
            with SmallHub(broker.hub, login.username) as hub:
                await until(lambda: agent.is_done)
                assert agent.forwarder.stats.batches == len(hub.arrived)

    asyncio.run(run())


def test_a_hub_that_falls_silent_is_greeted_until_it_answers(
    tmp_path: Path, broker: PrivateMosquitto, login: Login
) -> None:
    async def run() -> None:
        with SmallHub(broker.hub, login.username) as hub:
            async with delivering(tmp_path, login) as agent:
                await agent.store(make_scans(1, 5))
                await until(lambda: agent.is_done)
                hub.is_deaf = True
                await agent.store(make_scans(6, 10))
                await until(lambda: not agent.forwarder.hub_is_there)
                hub.is_deaf = False
                await until(lambda: agent.is_done)
                assert _committed(hub, agent.buffer.stream_id) == make_scans(1, 10)

    asyncio.run(run())


def test_a_hub_that_went_back_in_time_gets_everything_again(
    tmp_path: Path, broker: PrivateMosquitto, login: Login
) -> None:
    async def run() -> None:
        with SmallHub(broker.hub, login.username) as hub:
            async with delivering(tmp_path, login) as agent:
                await agent.store(make_scans(1, 30))
                await until(lambda: agent.is_done)
                hub.restore()
                await until(lambda: agent.forwarder.stats.rewinds == 1)
                await until(lambda: agent.is_done)
                assert _committed(hub, agent.buffer.stream_id) == make_scans(1, 30)
                assert hub.incarnation == 2
            async with opened(tmp_path) as buffer:
                assert await buffer.incarnation() == 2

    asyncio.run(run())


def test_a_hub_restored_between_two_runs_is_found_out_although_all_was_committed(
    tmp_path: Path, broker: PrivateMosquitto, login: Login
) -> None:
    async def run() -> None:
        with SmallHub(broker.hub, login.username) as hub:
            async with delivering(tmp_path, login) as agent:
                stream_id = agent.buffer.stream_id
                await agent.store(make_scans(1, 30))
                await until(lambda: agent.is_done)
            hub.restore()
            async with delivering(tmp_path, login):
                await until(lambda: len(_committed(hub, stream_id)) == 30)

    asyncio.run(run())


def test_what_was_forgotten_reaches_a_restored_hub_as_a_gap_of_that_size(
    tmp_path: Path, broker: PrivateMosquitto, login: Login
) -> None:
    async def run() -> None:
        with SmallHub(broker.hub, login.username) as hub:
            async with delivering(tmp_path, login) as agent:
                stream_id = agent.buffer.stream_id
                await agent.store(make_scans(1, 30))
                await until(lambda: agent.is_done)
                await agent.buffer.forget(stream_id, RangeSet([(1, 7)]))
                hub.restore()
                await until(lambda: agent.forwarder.stats.rewinds and agent.is_done)
                assert hub.contents[stream_id, 1] == Gap(7, GapReason.FORGOTTEN, 0, 0)
                assert [hub.contents[stream_id, n] for n in range(8, 31)] == make_scans(8, 30)

    asyncio.run(run())


def test_the_connecting_hello_names_every_stream_and_later_ones_are_small(
    tmp_path: Path, broker: PrivateMosquitto, login: Login
) -> None:
    async def run() -> None:
        with SmallHub(broker.hub, login.username) as hub:
            for number in range(1, 13):
                async with delivering(tmp_path, login) as agent:
                    await agent.store(make_scans(number, number))
                    await until(lambda: agent.is_done)
            greeted = len(hub.payloads(Up.HELLO))
            async with delivering(tmp_path, login):
                await until(lambda: len(hub.payloads(Up.HELLO)) > greeted + 1)
            hellos = [decode_hello(payload) for payload in hub.payloads(Up.HELLO)[greeted:]]
            assert (hellos[0].complete, len(hellos[0].streams)) == (True, 13)
            assert not hellos[1].complete
            assert len(hellos[1].streams) < 13

    asyncio.run(run())


def test_a_batch_too_large_is_halved(tmp_path: Path, broker: PrivateMosquitto, login: Login) -> None:
    noise = [
        Scan(1, scan.observed_at_ms, tuple((scan.observed_at_ms + p) ** 0.5 for p in range(20)))
        for scan in make_scans(1, 1200)
    ]

    async def run() -> None:
        policy = Policy(window=4, scans_per_batch=1000, ack_timeout_s=5.0)
        with SmallHub(broker.hub, login.username) as hub:
            async with delivering(tmp_path, login, policy=policy) as agent:
                await agent.store(noise)
                await until(lambda: agent.is_done)
                assert _committed(hub, agent.buffer.stream_id) == noise

    asyncio.run(run())


def test_a_pace_set_by_the_hub_is_kept(tmp_path: Path, broker: PrivateMosquitto, login: Login) -> None:
    async def run() -> None:
        async with delivering(tmp_path, login) as agent:
            await agent.store(make_scans(1, 100))
        with SmallHub(broker.hub, login.username, pace_bytes_per_s=1) as hub:
            async with delivering(tmp_path, login) as agent:
                await until(lambda: hub.arrived)
                await agent.store(make_scans(1, 5))
                await until(lambda: len(hub.arrived) >= 2)
                backlog = [sent for stream, sent in hub.arrived if stream != agent.buffer.stream_id]
                assert len(backlog) == 1

    asyncio.run(run())


def test_a_restored_hub_is_found_out_by_the_next_ack_without_waiting_for_a_hello(
    tmp_path: Path, broker: PrivateMosquitto, login: Login
) -> None:
    async def run() -> None:
        with SmallHub(broker.hub, login.username) as hub:
            async with delivering(tmp_path, login, hello_every_s=3600) as agent:
                await agent.store(make_scans(1, 10))
                await until(lambda: agent.is_done)
                hub.restore()
                await agent.store(make_scans(11, 12))
                await until(lambda: agent.forwarder.stats.rewinds == 1)
                await until(lambda: agent.is_done)
                assert _committed(hub, agent.buffer.stream_id) == make_scans(1, 12)

    asyncio.run(run())


def test_while_somebody_watches_scans_go_as_they_come(tmp_path: Path, broker: PrivateMosquitto, login: Login) -> None:
    async def run() -> None:
        with SmallHub(broker.hub, login.username) as hub:
            async with delivering(tmp_path, login, send_every_s=3600) as agent:
                await agent.store(make_scans(1, 1))
                await until(lambda: agent.is_done)
                agent.forwarder.send_at_once(SystemClock().monotonic_ms() + 3_600_000)
                for number in range(2, 5):
                    await agent.store(make_scans(number, number))
                    await until(lambda: agent.is_done)
                assert [sent for _, sent in hub.arrived] == [Range(n, n) for n in range(1, 5)]

    asyncio.run(run())


def test_a_range_is_sent_again_on_demand(tmp_path: Path, broker: PrivateMosquitto, login: Login) -> None:
    async def run() -> None:
        with SmallHub(broker.hub, login.username) as hub:
            async with delivering(tmp_path, login) as agent:
                await agent.store(make_scans(1, 30))
                await until(lambda: agent.is_done)
                agent.forwarder.resend(agent.buffer.stream_id, Range(5, 8))
                await until(lambda: hub.repeated == 4 and agent.is_done)

    asyncio.run(run())


@pytest.mark.parametrize("payload", [b"", b"\xff" * 40, b"\x08\x00"], ids=["empty", "noise", "no incarnation"])
def test_a_malformed_message_is_counted_and_harmless(
    tmp_path: Path, broker: PrivateMosquitto, login: Login, payload: bytes
) -> None:
    async def run() -> None:
        with SmallHub(broker.hub, login.username) as hub:
            async with delivering(tmp_path, login) as agent:
                await until(lambda: agent.forwarder.hub_is_there)
                hub.say(Down.ACK, payload)
                await until(lambda: agent.forwarder.stats.malformed_messages == 1)
                await agent.store(make_scans(1, 5))
                await until(lambda: agent.is_done)

    asyncio.run(run())


def test_stopping_delivers_what_is_there_and_says_so(tmp_path: Path, broker: PrivateMosquitto, login: Login) -> None:
    async def run() -> None:
        with SmallHub(broker.hub, login.username) as hub:
            async with delivering(tmp_path, login, send_every_s=3600) as agent:
                stream_id = agent.buffer.stream_id
                await until(lambda: agent.forwarder.hub_is_there)
                await agent.store(make_scans(1, 5))
            assert _committed(hub, stream_id) == make_scans(1, 5)
            await until(lambda: decode_status(hub.payloads(Up.STATUS)[-1]).presence is Presence.LEAVING)
            async with opened(tmp_path) as buffer:
                assert (await buffer.streams())[0].committed == RangeSet([(1, 5)])

    asyncio.run(run())


def _committed(hub: SmallHub, stream_id: bytes) -> list[Scan | Gap]:
    return [content for (stream, _), content in sorted(hub.contents.items()) if stream == stream_id]
