"""Over Modbus/TCP Security, a device is asked only when it proves who it is; what is wrong is told with its remedy."""

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from certificates import modbus_tls_files

from edge_agent.bus.bus import ModbusBus
from edge_agent.errors import BusUnreachable, MeterUnreachable
from protocol.line_config import LineConfig
from protocol.profile import Table
from simulator.register_unit import RegisterUnit
from simulator.server import serve
from simulator.tls import device_context

FILES = modbus_tls_files()
TIMEOUT_S = 30.0


async def read_port(port: int, **tls: Any) -> Sequence[int]:
    """Ask a device twice, with a new connection in between."""
    line = {"id": "line", "transport": "tls", "host": "127.0.0.1", "port": port, "timeout_s": TIMEOUT_S}
    bus = ModbusBus(LineConfig.model_validate(line | {"tls": tls}))
    values: Sequence[int] = ()
    for _ in range(2):
        values = await bus.read(unit_id=1, table=Table.HOLDING_REGISTER, address=0, count=2)
        bus.close()
    assert bus.stats.connects == 2
    return values


def read_inside_tls(device: ssl.SSLContext | None, **tls: Any) -> Sequence[int]:
    with serve(RegisterUnit(1, holding={0: 5, 1: 6}), tls=device) as server:
        try:
            return asyncio.run(read_port(server.port, **tls))
        finally:
            server.stop()


def make_device(*, client_ca: Path | None = None) -> ssl.SSLContext:
    return device_context(FILES / "device.pem", FILES / "device.key", client_ca=client_ca)


@pytest.mark.parametrize("server_name", [None, "meter.test"])
def test_device_with_a_trusted_certificate_is_read(server_name: str | None) -> None:
    assert read_inside_tls(make_device(), ca=FILES / "ca.pem", server_name=server_name) == [5, 6]


def test_certificate_is_shown_where_the_device_demands_one() -> None:
    device = make_device(client_ca=FILES / "ca.pem")
    own = {"cert": FILES / "client.pem", "key": FILES / "client.key"}
    assert read_inside_tls(device, ca=FILES / "ca.pem", **own) == [5, 6]


@pytest.mark.parametrize("certificate", ["stranger", None])
def test_device_that_refuses_our_certificate_is_told_so(certificate: str | None) -> None:
    device = make_device(client_ca=FILES / "ca.pem")
    own = {"cert": FILES / f"{certificate}.pem", "key": FILES / f"{certificate}.key"} if certificate else {}
    with pytest.raises(MeterUnreachable, match=r"ended the encrypted connection, .* 'tls\.cert', instead of answering"):
        read_inside_tls(device, ca=FILES / "ca.pem", **own)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": (
        {"ca": FILES / "other-ca.pem"},
        r"certificate is not trusted by .*other-ca\.pem .*; set 'tls.ca' to its issuer",
    ),
    "unknown to the system": ({}, r"certificate is not trusted by this system .*; set 'tls.ca'"),
    "another name": (
        {"ca": FILES / "ca.pem", "server_name": "else.test"},
        r"its certificate is for another name; set 'tls\.server_name'",
    ),
    "no such file": ({"ca": FILES / "none.pem"}, r"cannot use the file .*none\.pem: no such file or directory"),
    "no certificate": ({"ca": FILES / "client.key"}, r"cannot use the file .*client\.key: "),
    "key of another": (
        {"ca": FILES / "ca.pem", "cert": FILES / "client.pem", "key": FILES / "stranger.key"},
        r"cannot use the file .*client\.pem with its key .*stranger\.key: .*mismatch",
    ),
}


@pytest.mark.parametrize(("tls", "message"), WRONG.values(), ids=WRONG)
def test_missing_trust_is_explained_with_its_remedy(tls: dict[str, Any], message: str) -> None:
    with pytest.raises(BusUnreachable, match=r"^no connection to 127\.0\.0\.1:\d+: .*" + message):
        read_inside_tls(make_device(), **tls)


def test_device_without_encryption_is_told() -> None:
    with pytest.raises(BusUnreachable, match=r"the encryption failed|reset"):
        read_inside_tls(None, ca=FILES / "ca.pem")
