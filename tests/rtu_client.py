"""A bare Modbus RTU client on a serial port, which sees every byte and keeps no silence by itself."""

import os
import select
import termios
import time
import tty
from types import TracebackType
from typing import Self

from simulator.rtu import rtu_frame

WAIT_S = 20


class RtuClient:
    """Writes requests and reads what comes back."""

    def __init__(self, path: str, baud: int = 9600) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.fd)
        attributes = termios.tcgetattr(self.fd)
        attributes[4] = attributes[5] = getattr(termios, f"B{baud}")
        termios.tcsetattr(self.fd, termios.TCSANOW, attributes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)

    def send(self, unit_id: int, pdu: bytes) -> None:
        os.write(self.fd, rtu_frame(unit_id, pdu))

    def receive(self, count: int) -> bytes:
        """Return that many bytes, or fewer when no more come before the deadline."""
        data, deadline = b"", time.monotonic() + WAIT_S
        while len(data) < count and select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            data += os.read(self.fd, count - len(data))
        return data

    def ask(self, unit_id: int, pdu: bytes, answer_bytes: int) -> bytes:
        self.send(unit_id, pdu)
        return self.receive(answer_bytes)

    def is_silent(self, duration_s: float = 0.2) -> bool:
        return not select.select([self.fd], [], [], duration_s)[0]
