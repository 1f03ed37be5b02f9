import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from hub_client import HubClient, until

from demo.mosquitto import Login, PrivateMosquitto
from demo.relay import Relay
from edge_agent.errors import BrokerRefused, BrokerUnreachable
from edge_agent.uplink.connection import BrokerLogin
from edge_agent.uplink.uplink import FAILURE, NOBODY_LISTENED, Uplink
from protocol.messages import Presence, decode_status
from protocol.topics import Down, Up


class Heard:
    """Keeps what the uplink told."""

    def __init__(self) -> None:
        self.connects = 0
        self.disconnects = 0
        self.messages: list[tuple[Down, bytes]] = []

    def on_connected(self) -> None:
        self.connects += 1

    def on_disconnected(self) -> None:
        self.disconnects += 1

    def on_message(self, kind: Down, payload: bytes) -> None:
        self.messages.append((kind, payload))


class Clumsy(Heard):
    """Fails at whatever it is told."""

    def on_message(self, kind: Down, payload: bytes) -> None:
        super().on_message(kind, payload)
        message = "a listener's own mistake"
        raise RuntimeError(message)


def make_uplink(login: Login, *, port: int | None = None, password: str | None = None) -> Uplink:
    return Uplink(
        controller_id=login.username,
        login=BrokerLogin(login.host, port or login.port, login.username, password or login.password),
        agent_version="test",
        boot_id=b"\x01",
        retry_first_s=0.05,
        retry_cap_s=0.2,
    )


@asynccontextmanager
async def running(uplink: Uplink) -> AsyncIterator[None]:
    task = asyncio.create_task(uplink.run())
    try:
        yield
    finally:
        await uplink.stop()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def login(broker: PrivateMosquitto) -> Login:
    return broker.add_controller(f"uplink-{uuid.uuid4().hex[:12]}")


def test_what_is_published_reaches_the_hub_and_is_answered(broker: PrivateMosquitto, login: Login) -> None:
    async def run() -> None:
        uplink, heard = make_uplink(login), Heard()
        uplink.listen(heard)
        with HubClient(broker.hub, login.username) as hub:
            async with running(uplink):
                await until(lambda: heard.connects == 1)
                assert await uplink.publish(Up.HELLO, b"hello") == 0
                await until(lambda: hub.payloads(Up.HELLO) == [b"hello"])
                hub.say(Down.ACK, b"ack")
                await until(lambda: heard.messages == [(Down.ACK, b"ack")])
                assert uplink.stats.bytes_up > len(b"hello")
                assert uplink.stats.bytes_down > len(b"ack")

    asyncio.run(run())


def test_presence_is_online_then_leaving(broker: PrivateMosquitto, login: Login) -> None:
    async def run() -> None:
        uplink = make_uplink(login)
        with HubClient(broker.hub, login.username) as hub:
            async with running(uplink):
                await until(lambda: _presences(hub) == [Presence.ONLINE])
            await until(lambda: _presences(hub) == [Presence.ONLINE, Presence.LEAVING])

    asyncio.run(run())


def test_a_broken_line_lets_the_broker_say_offline(broker: PrivateMosquitto, login: Login) -> None:
    async def run() -> None:
        with Relay("127.0.0.1", login.port) as relay, HubClient(broker.hub, login.username) as hub:
            uplink = make_uplink(login, port=relay.port)
            async with running(uplink):
                await until(lambda: uplink.is_connected)
                relay.cut()
                await until(lambda: Presence.OFFLINE in _presences(hub))

    asyncio.run(run())


def test_nobody_listening_is_told(login: Login) -> None:
    async def run() -> None:
        uplink = make_uplink(login)
        async with running(uplink):
            await until(lambda: uplink.is_connected)
            assert await uplink.publish(Up.BATCH, b"batch") == NOBODY_LISTENED

    asyncio.run(run())


def test_it_connects_again_after_a_cut_and_after_the_broker_was_killed(own_broker: PrivateMosquitto) -> None:
    async def run() -> None:
        login = own_broker.add_controller("site-1")
        with Relay("127.0.0.1", login.port) as relay:
            uplink, heard = make_uplink(login, port=relay.port), Heard()
            uplink.listen(heard)
            async with running(uplink):
                await until(lambda: heard.connects == 1)
                relay.cut()
                await until(lambda: heard.disconnects == 1)
                with pytest.raises(BrokerUnreachable):
                    await uplink.publish(Up.HEALTH, b"")
                relay.restore()
                await until(lambda: heard.connects == 2)
                own_broker.kill()
                await until(lambda: heard.disconnects == 2)
                own_broker.start()
                await until(lambda: heard.connects == 3)

    asyncio.run(run())


def test_it_begins_before_the_broker_is_there(own_broker: PrivateMosquitto) -> None:
    async def run() -> None:
        login = own_broker.add_controller("site-1")
        own_broker.stop()
        uplink = make_uplink(login)
        async with running(uplink):
            await until(lambda: isinstance(uplink.fault, BrokerUnreachable))
            assert f"{login.host}:{login.port}" in str(uplink.fault)
            own_broker.start()
            await until(lambda: uplink.is_connected)
            assert uplink.fault is None

    asyncio.run(run())


def test_a_half_open_line_is_given_up_when_an_answer_is_missing(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.uplink.connection._ANSWER_TIMEOUT_S", 0.3)

    async def run() -> None:
        with Relay("127.0.0.1", login.port) as relay:
            uplink, heard = make_uplink(login, port=relay.port), Heard()
            uplink.listen(heard)
            async with running(uplink):
                await until(lambda: uplink.is_connected)
                relay.stall()
                with pytest.raises(BrokerUnreachable, match="does not answer any more"):
                    await uplink.publish(Up.HEALTH, b"")
                await until(lambda: heard.disconnects == 1)
                relay.restore()
                await until(lambda: heard.connects == 2)

    asyncio.run(run())


def test_a_refused_login_is_told_with_its_remedy(login: Login) -> None:
    async def run() -> None:
        uplink = make_uplink(login, password="wrong")
        async with running(uplink):
            await until(lambda: uplink.fault is not None)
            assert isinstance(uplink.fault, BrokerRefused)
            assert "broker.password_file" in str(uplink.fault)

    asyncio.run(run())


def test_a_listeners_mistake_does_not_end_the_uplink(broker: PrivateMosquitto, login: Login) -> None:
    async def run() -> None:
        uplink, clumsy = make_uplink(login), Clumsy()
        uplink.listen(clumsy)
        with HubClient(broker.hub, login.username) as hub:
            async with running(uplink):
                await until(lambda: uplink.is_connected)
                for number in range(3):
                    hub.say(Down.ACK, str(number).encode())
                    await until(lambda number=number: len(clumsy.messages) == number + 1)  # type: ignore[misc]
                assert await uplink.publish(Up.HEALTH, b"") < FAILURE
                assert clumsy.disconnects == 0

    asyncio.run(run())


def _presences(hub: HubClient) -> list[Presence]:
    return [decode_status(payload).presence for payload in hub.payloads(Up.STATUS)]
