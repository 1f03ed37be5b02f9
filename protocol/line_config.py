"""How a controller reaches its meters: serial lines, TCP addresses, and their timing."""

from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from protocol.identifiers import BusId

MODBUS_PORT, MODBUS_TLS_PORT = 502, 802
"""The ports that the Modbus Organization registered."""


class Transport(StrEnum):
    """Which bytes travel over what."""

    TCP = "tcp"
    """Modbus TCP: a meter, a router or a gateway."""
    TLS = "tls"
    """Modbus/TCP Security: Modbus TCP inside TLS."""
    RTU = "rtu"
    """Modbus RTU on a serial port of the controller."""
    RTU_OVER_TCP = "rtu_over_tcp"
    """RTU frames over TCP, as a transparent serial server passes them on."""


class Parity(StrEnum):
    """The parity bit of a serial character."""

    NONE = "N"
    EVEN = "E"
    ODD = "O"


class TlsFiles(BaseModel):
    """Files of an encrypted Modbus connection, on the controller."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca: Path | None = None
    """Certificates that the device's is checked against; None takes the system's."""
    cert: Path | None = None
    key: Path | None = None
    server_name: str | None = None
    """The name in the device's certificate, where it is not the host."""

    @model_validator(mode="after")
    def _pair_is_whole(self) -> Self:
        if (self.cert is None) != (self.key is None):
            message = "has only one of 'cert' and 'key'; set both or neither"
            raise ValueError(message)
        return self


class SerialLine(BaseModel):
    """A serial port and how its characters look."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = Field(min_length=1, max_length=255, pattern=r"^/")
    """Absolute path; one under /dev/serial/by-id stays right when adapters are plugged in another order."""
    baud: int = Field(default=9600, ge=300, le=4_000_000)
    parity: Parity = Parity.NONE
    stop_bits: int = Field(default=1, ge=1, le=2)
    inter_frame_delay_ms: float | None = Field(default=None, ge=0, le=1_000)
    """Silence between two frames; None = 3.5 characters, and 1.75 ms above 19,200 baud, as the standard says."""
    turnaround_delay_ms: float = Field(default=0, ge=0, le=1_000)
    """Further silence before each request, for converters that are slow to change direction."""

    @property
    def character_s(self) -> float:
        """Return how long one character takes: start bit, 8 data bits, parity bit and stop bits."""
        return (9 + (self.parity is not Parity.NONE) + self.stop_bits) / self.baud

    @property
    def silence_s(self) -> float:
        """Return the silence that separates two frames.

        Source: MODBUS over Serial Line V1.02, 2.5.1.1.
        """
        if self.inter_frame_delay_ms is not None:
            return self.inter_frame_delay_ms / 1000
        return 0.00175 if self.baud > 19_200 else 3.5 * self.character_s


class LineConfig(BaseModel):
    """One line to meters, with either a `host` or a `serial` line. One request at a time travels on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: BusId
    transport: Transport = Transport.TCP
    """Left out: `rtu` with `serial`, else `tcp`."""
    host: str | None = Field(default=None, min_length=1, max_length=255)
    port: int = Field(default=MODBUS_PORT, ge=1, le=0xFFFF)
    """Left out: 502, with TLS 802."""
    serial: SerialLine | None = None
    tls: TlsFiles | None = None
    timeout_s: float = Field(default=1.0, gt=0, le=60)
    retries: int = Field(default=0, ge=0, le=5)
    """How often a request is repeated at once when no proper answer came."""
    pause_after_connect_s: float = Field(default=0, ge=0, le=60)
    pause_between_requests_s: float = Field(default=0, ge=0, le=10)
    close_after_poll: bool = False
    """Close the connection after each poll cycle, for routers and gateways with few sessions."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever the caller gave
        if not isinstance(given, dict):
            return given
        filled = dict(given)
        filled.setdefault("transport", Transport.RTU if given.get("serial") is not None else Transport.TCP)
        if filled["transport"] == Transport.TLS:
            filled.setdefault("port", MODBUS_TLS_PORT)
        return filled

    @model_validator(mode="after")
    def _fits_its_transport(self) -> Self:
        is_serial = self.transport is Transport.RTU
        if is_serial and self.serial is None:
            message = (
                "transport 'rtu' needs a serial line: serial = { device = \"/dev/serial/by-id/...\", baud = 9600 }"
            )
            raise ValueError(message)
        if is_serial and self.host is not None:
            message = "transport 'rtu' has no host; remove 'host', or use transport 'rtu_over_tcp'"
            raise ValueError(message)
        if not is_serial and self.serial is not None:
            message = f"transport {self.transport.value!r} has no serial line; remove 'serial' or the transport"
            raise ValueError(message)
        if not is_serial and self.host is None:
            message = f"transport {self.transport.value!r} needs a 'host'; add it"
            raise ValueError(message)
        if self.tls is not None and self.transport is not Transport.TLS:
            message = f"transport {self.transport.value!r} has no encryption; remove 'tls' or set transport = \"tls\""
            raise ValueError(message)
        return self

    @property
    def address(self) -> str:
        """Return the device path or `host:port`, as people write it."""
        return self.serial.device if self.serial is not None else f"{self.host}:{self.port}"
