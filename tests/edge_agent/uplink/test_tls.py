import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import HubClient, until

from demo.tls_mosquitto import TlsMosquitto
from edge_agent.errors import BrokerRefused, SettingsError
from edge_agent.uplink.connection import BrokerLogin
from edge_agent.uplink.tls import ResumingContext, make_tls_context
from edge_agent.uplink.uplink import Uplink
from protocol.topics import Up

CONTROLLER = "hut-0001"


@pytest.fixture(scope="module")
def tls_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsMosquitto]:
    with TlsMosquitto(tmp_path_factory.mktemp("tls")) as broker:
        yield broker


@pytest.fixture
def context(tls_broker: TlsMosquitto) -> ResumingContext:
    pair = tls_broker.issue(CONTROLLER)
    return make_tls_context(ca=tls_broker.ca.cert, cert=pair.cert, key=pair.key)


def make_uplink(broker: TlsMosquitto, context: ResumingContext) -> Uplink:
    login = BrokerLogin(broker.host, broker.port, tls=context)
    return Uplink(controller_id=CONTROLLER, login=login, retry_first_s=0.05, retry_cap_s=0.1)


async def connect_again(uplink: Uplink) -> None:
    connects = uplink.stats.connects
    assert uplink._connection is not None
    uplink._connection.end("for the test")
    await until(lambda: uplink.stats.connects == connects + 1)


def test_a_session_is_resumed_and_costs_less(tls_broker: TlsMosquitto, context: ResumingContext) -> None:
    async def run() -> None:
        uplink = make_uplink(tls_broker, context)
        task = asyncio.create_task(uplink.run())
        await until(lambda: uplink.is_connected)
        await connect_again(uplink)
        resumed = context.newest
        assert resumed is not None
        assert resumed.session_reused
        assert resumed.version() == "TLSv1.3"
        first_and_farewell = uplink._bytes_before.total
        await uplink.stop()
        await task
        assert uplink.line_bytes.total - first_and_farewell < first_and_farewell

    asyncio.run(run())


def test_a_broker_that_forgot_the_session_is_met_with_the_certificate_again(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        with TlsMosquitto(tmp_path) as broker:
            pair = broker.issue(CONTROLLER)
            context = make_tls_context(ca=broker.ca.cert, cert=pair.cert, key=pair.key)
            uplink = make_uplink(broker, context)
            task = asyncio.create_task(uplink.run())
            await until(lambda: uplink.is_connected)
            broker.stop()
            broker.start()
            await until(lambda: uplink.stats.connects == 2)
            assert context.newest is not None
            assert not context.newest.session_reused
            await uplink.stop()
            await task

    asyncio.run(run())


def test_a_certificate_of_another_authority_is_refused_and_its_bytes_are_counted(
    tls_broker: TlsMosquitto, tmp_path: Path
) -> None:
    async def run() -> None:
        stranger = make_tls_context(ca=_other_authority(tmp_path), cert=None, key=None)
        uplink = make_uplink(tls_broker, stranger)
        task = asyncio.create_task(uplink.run())
        await until(lambda: uplink.fault is not None)
        assert isinstance(uplink.fault, BrokerRefused)
        assert "broker.tls.ca" in str(uplink.fault)
        assert uplink.line_bytes.down > 500
        await uplink.stop()
        await task

    asyncio.run(run())


def test_the_controllers_certificate_is_its_name_at_the_broker(
    tls_broker: TlsMosquitto, context: ResumingContext
) -> None:
    async def run() -> None:
        with HubClient(tls_broker.hub, CONTROLLER) as hub:
            uplink = make_uplink(tls_broker, context)
            task = asyncio.create_task(uplink.run())
            await until(lambda: uplink.is_connected)
            for number in range(3):
                assert await uplink.publish(Up.BATCH, bytes([number])) == 0
            await until(lambda: hub.payloads(Up.BATCH) == [b"\0", b"\1", b"\2"])
            await uplink.stop()
            await task

    asyncio.run(run())


def test_certificates_that_cannot_be_loaded_are_a_settings_fault(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(SettingsError, match=r"broker\.tls: cannot load"):
        make_tls_context(ca=file, cert=None, key=None)


def _other_authority(directory: Path) -> Path:
    return TlsMosquitto(directory / "other").ca.cert
