"""TCP connections to meters, routers and gateways, encrypted where the line says so."""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import cast

from edge_agent.bus.line import Line
from edge_agent.errors import BusUnreachable
from protocol.line_config import LineConfig, TlsFiles, Transport

_IDLE_S = 0.5
"""Answers of a serial server may come in pieces, with the line's delays between them."""
_HOSTNAME_MISMATCH, _IP_MISMATCH = 62, 64
"""What OpenSSL calls a certificate for another name (X509_V_ERR_…)."""


class TcpLine(Line, asyncio.Protocol):
    """One TCP connection, from the first byte to the last."""

    idle_s = _IDLE_S

    def __init__(self) -> None:
        super().__init__()
        self._transport: asyncio.Transport | None = None
        self._is_encrypted = False
        self._has_heard = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)
        self._is_encrypted = transport.get_extra_info("ssl_object") is not None

    def data_received(self, data: bytes) -> None:
        """Collect bytes; called by asyncio."""
        self._has_heard = True
        self._take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end; called by asyncio."""
        if self._is_encrypted and not self._has_heard:
            # With TLS 1.3 a certificate is refused after the handshake, and the alert that says so may get lost.
            self._lose("ended the encrypted connection, as a device does that does not accept our 'tls.cert',")
        else:
            self._lose("closed the connection" if exc is None else "broke the connection")

    def send(self, data: bytes) -> None:
        """Hand bytes to the kernel.

        Raises: LineLost.
        """
        self.require()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)  # else asyncio is about to say why, and the wait for an answer ends

    def close(self, *, is_orderly: bool = True) -> None:
        """End the connection: with what is due on the wire first, or at once."""
        self._lose("had its connection closed by this agent")
        if self._transport is None:
            return
        if is_orderly:
            self._transport.close()
        if self._is_encrypted or not is_orderly:
            # Our farewell is on its way; waiting for the device's would keep the session open for it.
            self._transport.abort()


async def connect(config: LineConfig) -> TcpLine:
    """Connect to a line's host, within its timeout.

    Raises: BusUnreachable saying why and, where a person can help, how.
    """
    tls = config.tls or TlsFiles()
    encryption: dict[str, object] = {}
    if config.transport is Transport.TLS:
        encryption = {
            "ssl": _tls_context(config, tls),
            "server_hostname": tls.server_name or config.host,
        }
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(config.timeout_s):
            _, line = await loop.create_connection(TcpLine, config.host, config.port, **encryption)  # type: ignore[call-overload] # its overloads know no mapping
    except OSError as error:  # ssl.SSLError and TimeoutError are OSErrors
        raise _unreachable(config, _reason(error, config)) from error
    return cast(TcpLine, line)


def _openssl_text(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")


def _unreachable(config: LineConfig, reason: str) -> BusUnreachable:
    return BusUnreachable(f"no connection to {config.address}: {reason}")


def _reason(error: OSError, config: LineConfig) -> str:
    match error:
        case TimeoutError():
            return f"no answer within {config.timeout_s:g} s"
        case ConnectionRefusedError():
            return "refused; see whether Modbus is enabled there, and on which port"
        case socket.gaierror():
            return "its name is not known; correct 'host', or see whether names can be resolved here"
        case ssl.SSLCertVerificationError():
            return _distrust(error, config)
        case ssl.SSLError():
            return (
                f"the encryption failed ({_openssl_text(error)}); see whether the device speaks Modbus over TLS there"
            )
        case _:
            return (error.strerror or str(error)).lower()


def _distrust(error: ssl.SSLCertVerificationError, config: LineConfig) -> str:
    if error.verify_code in (_HOSTNAME_MISMATCH, _IP_MISMATCH):
        return "its certificate is for another name; set 'tls.server_name' to the name in it"
    ca = config.tls.ca if config.tls else None
    names = f"by {ca}" if ca else "by this system"
    return f"its certificate is not trusted {names} ({error.verify_message}); set 'tls.ca' to its issuer's certificate"


def _tls_context(config: LineConfig, tls: TlsFiles) -> ssl.SSLContext:
    """Build a context that verifies the device, and shows it our own certificate when there is one.

    Source: MODBUS/TCP Security Protocol Specification V2.1: TLS 1.2 or newer.
    """
    where: Path | None = tls.ca
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        where = tls.cert
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key, password="")  # nobody is there to be asked for one
    except OSError as error:
        said = _openssl_text(error) if isinstance(error, ssl.SSLError) else f"{error.strerror or error}".lower()
        files = f"{where} with its key {tls.key}" if where is tls.cert else str(where)
        raise _unreachable(config, f"cannot use the file {files}: {said}; correct it or the key 'tls'") from error
    return context
