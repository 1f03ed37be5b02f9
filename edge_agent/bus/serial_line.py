"""Serial ports, opened for nobody else, with nothing between their bytes and ours."""

import asyncio
import contextlib
import errno
import fcntl
import os
import struct
import termios

from edge_agent.bus.line import Line, LineLost
from edge_agent.errors import BusUnreachable
from protocol.line_config import LineConfig, Parity, SerialLine

_READ_BYTES = 4096
_IDLE_S = 0.1
"""USB converters hand over bytes in packets up to 16 ms apart, and this machine may be busy."""
_GONE = "the serial device has gone; plug it in again"
_STUCK = "the serial device takes no bytes"
_GET_SERIAL, _SET_SERIAL = 0x541E, 0x541F
_USED = "another program uses it; end that program, or give it another port"
_FORBIDDEN = "it may not be opened; add the agent's user to the group dialout"
_REASONS = {
    errno.ENOENT: "the serial device is missing; plug it in, or correct 'serial.device'",
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EBUSY: _USED,
    errno.EAGAIN: _USED,
    errno.ENOTTY: "it is no serial port; correct 'serial.device'",
    errno.EINVAL: "the device cannot do {settings}; correct 'serial'",
}
_SERIAL_STRUCT = struct.Struct("iiIiiiiiHBBiHHPHIP")
"""`struct serial_struct` of linux/serial.h; its fifth member is the flags."""
_FLAGS_AT, _LOW_LATENCY = 4, 0x2000


class SerialPort(Line):
    """An open serial port, read as bytes arrive."""

    def __init__(self, fd: int, serial: SerialLine) -> None:
        """Take over an open port, with the running loop."""
        super().__init__()
        self.character_s = serial.character_s
        self.idle_s = serial.silence_s + _IDLE_S
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._read)

    def send(self, data: bytes) -> None:
        """Hand a frame to the port; its buffer has room for many.

        Raises: LineLost.
        """
        self.require()
        try:
            sent = os.write(self._fd, data)
        except OSError as error:
            self._lose(_GONE if error.errno != errno.EAGAIN else _STUCK)
            raise LineLost(self.lost) from error
        if sent < len(data):
            self._lose(_STUCK)
            raise LineLost(self.lost)

    def drain(self) -> int:
        """Throw away what has arrived, also what the loop has not seen yet."""
        if not self.lost:
            self._read()
        return super().drain()

    def close(self, *, is_orderly: bool = True) -> None:  # noqa: ARG002 - a port knows only one way
        """Give the port back, at once."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        self._lose("this agent closed the serial device")
        self._loop.remove_reader(fd)
        with contextlib.suppress(OSError, termios.error):
            termios.tcflush(fd, termios.TCIOFLUSH)  # else closing waits until the last byte has left
            fcntl.ioctl(fd, termios.TIOCNXCL)
        os.close(fd)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(data)
        else:  # the far end of the device is gone; a reader left in place would be called for ever
            self._loop.remove_reader(self._fd)
            self._lose(_GONE)


def open_port(config: LineConfig) -> SerialPort:
    """Open and set up a line's serial port.

    Raises: BusUnreachable saying why and what to do.
    """
    serial = config.serial
    if serial is None:
        raise ValueError(f"bus {config.id!r} has no serial line")
    fd = -1
    try:
        fd = os.open(serial.device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        _claim(fd)
        _set_up(fd, serial)
        return SerialPort(fd, serial)
    except (OSError, termios.error, ValueError) as error:
        if fd >= 0:
            os.close(fd)
        raise BusUnreachable(f"no connection to {serial.device}: {_reason(error, serial)}") from error


def _claim(fd: int) -> None:
    """Keep other programs away: those that look for a lock, and those that simply open the port."""
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if not os.isatty(fd):
        raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
    fcntl.ioctl(fd, termios.TIOCEXCL)


def _set_up(fd: int, serial: SerialLine) -> None:
    speed = getattr(termios, f"B{serial.baud}", None)
    if speed is None:
        raise ValueError(f"this system has no {serial.baud} baud; correct 'serial.baud'")
    control = termios.CS8 | termios.CREAD | termios.CLOCAL
    if serial.parity is not Parity.NONE:
        control |= termios.PARENB
    if serial.parity is Parity.ODD:
        control |= termios.PARODD
    if serial.stop_bits == 2:
        control |= termios.CSTOPB
    # A character with a wrong parity bit is read as 0, and the frame's check finds it.
    checks = termios.INPCK if serial.parity is not Parity.NONE else 0
    characters = termios.tcgetattr(fd)[6]
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, [checks, 0, control, 0, speed, speed, characters])
    termios.tcflush(fd, termios.TCIFLUSH)
    _ask_for_low_latency(fd)


def _ask_for_low_latency(fd: int) -> None:
    """Have a USB converter pass on bytes at once rather than each 16 ms, where its driver can."""
    with contextlib.suppress(OSError):
        fields = list(_SERIAL_STRUCT.unpack(fcntl.ioctl(fd, _GET_SERIAL, bytes(_SERIAL_STRUCT.size))))
        fields[_FLAGS_AT] |= _LOW_LATENCY
        fcntl.ioctl(fd, _SET_SERIAL, _SERIAL_STRUCT.pack(*fields))


def _reason(error: Exception, serial: SerialLine) -> str:
    if isinstance(error, ValueError):
        return str(error)
    number = error.args[0]
    return _REASONS.get(number, os.strerror(number).lower()).format(
        settings=f"{serial.baud} baud, 8{serial.parity.value}{serial.stop_bits}"
    )
