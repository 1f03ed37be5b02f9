"""One simulated meter: a profile filled with values, frame by frame. No sockets here."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from protocol.manifest import PointKind
from protocol.profile import Point, Profile, RegisterType
from protocol.registers import Value
from simulator.faults import Fault, FaultKind
from simulator.identity import SERIAL_POINT
from simulator.layout import Layout, Words
from simulator.ledger import Ledger, ServedFrame
from simulator.modbus import ExceptionCode, Read, Refusal, Write
from simulator.unit import Frame, Unit, Visit

_FLOATS = frozenset({RegisterType.FLOAT32, RegisterType.FLOAT64})


class Source(Protocol):
    """Where a meter's values come from."""

    @property
    def digits(self) -> Mapping[str, int]:
        """Decimals to which float registers are rounded, by quantity; below zero, tens, hundreds and so on."""

    def values(self, serial: int, now_ms: int) -> Mapping[str, Value] | None:
        """Return values by point name for the frame `serial` at UTC milliseconds; None when the data has ended."""


class FixedSource:
    """Values that a test sets."""

    digits: Mapping[str, int] = {}

    def __init__(self, values: Mapping[str, Value]) -> None:
        """Take values by point name; `now` may be changed at any time."""
        self.now = dict(values)

    def values(self, serial: int, now_ms: int) -> Mapping[str, Value]:  # noqa: ARG002 - the same at any time
        """Return what was set."""
        return self.now


class SimulatedMeter(Unit):
    """Answers reads from frames; a read that covers `scan_serial` opens the next one and notes it in the ledger."""

    def __init__(
        self,
        *,
        meter_id: str,
        profile: Profile | Layout,
        source: Source,
        unit_id: int = 1,
        points: Iterable[str] | None = None,
        absent: Iterable[str] = (),
        ledger: Ledger | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        turnaround_s: float = 0.0,
    ) -> None:
        """Describe the meter.

        `profile` comes from `with_identity`, or is any other: then every read opens a frame, which the
        ledger does not note. Many meters of one model may share a `Layout` of it, which then names the
        points. `points` are those that the ledger notes; left out, all that the source offers. Reads that
        touch points which are `absent` are refused; the set may be changed at any time.
        Raises: ValueError when the profile is not read by Modbus.
        """
        super().__init__(meter_id=meter_id, unit_id=unit_id, turnaround_s=turnaround_s)
        self._layout = profile if isinstance(profile, Layout) else Layout(profile, unit_id=unit_id, points=points)
        self.profile = self._layout.profile
        self.absent = set(absent)
        self.has_ended = False
        """Whether the source's data has ended; such a meter answers with an exception."""
        self._source = source
        self._ledger = ledger or Ledger(None)
        self._now_ms = now_ms
        self._counter_offsets: dict[str, float] = {}
        self._written: Words = {}
        self._newest: Frame | None = None

    def set_faults(self, *faults: Fault) -> None:
        """Let several things go wrong; counters that are reset are so at once, and nothing else ends."""
        lasting = [fault for fault in faults if fault.kind is not FaultKind.COUNTER_RESET]
        if len(lasting) < len(faults):
            self._reset_counters()
        if lasting or not faults:
            super().set_faults(*lasting)

    def opens_frame(self, read: Read) -> bool:
        """Say whether this read opens a frame of its own."""
        serial = self._layout.serial_point
        return serial is None or read.covers(serial.table, serial.address)

    def open_frame(self, fault: Fault | None, client: str = "") -> Frame:
        """Open the next frame and note it in the ledger: for whom, and what happens to its answer.

        Raises: Refusal when the data has ended.
        """
        serial, now_ms = self._ledger.last_serial(self.id) + 1, self._now_ms()
        words = self._layout.encode(self._values(serial, now_ms))
        if self._layout.serial_point is not None:
            self._ledger.append(
                ServedFrame(
                    meter=self.id,
                    serial=serial,
                    served_at_ms=now_ms,
                    values=self._layout.decode(words | self._written) if self._ledger.is_kept else {},
                    answered=fault is None or fault.spares_the_answer,
                    fault=fault.kind if fault is not None else None,
                    client=client,
                )
            )
        self._newest = Frame(words)
        return self._newest

    def newest_frame(self) -> Frame:
        """Return the frame that was opened last, for a client that asks for something else first."""
        if self._newest is not None:
            return self._newest
        return Frame(self._layout.encode(self._values(self._ledger.last_serial(self.id), self._now_ms())))

    def entries(self, read: Read, frame: Frame) -> list[int]:
        """Return the registers or bits that are asked for, as they were last written; holes in the map read as 0.

        Raises: Refusal, as a strict device of this model would.
        """
        self._layout.check_read(read, self.absent)
        places = [(read.table, address) for address in range(read.address, read.address + read.count)]
        return [self._written.get(place, frame.words.get(place, 0)) for place in places]

    def _read(self, read: Read, fault: Fault | None, visit: Visit) -> list[int]:
        if self.opens_frame(read):
            visit.frames[self.unit_id] = self.open_frame(fault, visit.client)
        return self.entries(read, visit.frames.get(self.unit_id) or self.newest_frame())

    def _write(self, write: Write) -> None:
        self._layout.check_write(write)
        self._written |= {(write.table, write.address + at): entry for at, entry in enumerate(write.entries)}

    def _values(self, serial: int, now_ms: int) -> dict[str, Value]:
        offered = self._source.values(serial, now_ms)
        if offered is None:
            self.has_ended = True
            raise Refusal(ExceptionCode.SERVER_DEVICE_FAILURE)
        values = {
            point.name: self._shown(point, offered[point.name])
            for point in self._layout.served
            if point.name in offered
        }
        if self._layout.serial_point is not None:
            values[SERIAL_POINT] = float(serial)
        return values

    def _shown(self, point: Point, value: Value) -> Value:
        """Round as the device does, and let counters start again where they do."""
        if not isinstance(value, int | float):
            return value
        value = float(value)
        if point.kind is PointKind.COUNTER:
            value = max(0.0, value - self._counter_offsets.get(point.name, 0.0))
            if point.rollover is not None:
                value %= float(point.rollover)
        # Integer registers round by themselves, to the step of their scale.
        digits = self._source.digits.get(point.quantity) if point.type in _FLOATS else None
        return value if digits is None else round(value, digits)

    def _reset_counters(self) -> None:
        offered = self._source.values(self._ledger.last_serial(self.id), self._now_ms()) or {}
        self._counter_offsets = {
            point.name: float(shown)
            for point in self._layout.served
            if point.kind is PointKind.COUNTER and isinstance(shown := offered.get(point.name), int | float)
        }
