"""One simulated meter: a profile filled with values, frame by frame. No sockets here."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from protocol.manifest import PointKind
from protocol.profile import ModbusSettings, Point, Profile, RegisterType, Table
from protocol.registers import decoder_for, encode
from simulator.faults import Fault, FaultKind
from simulator.identity import SERIAL_POINT
from simulator.ledger import Ledger, ServedFrame
from simulator.modbus import ExceptionCode, Read, Refusal

_FLOATS = frozenset({RegisterType.FLOAT32, RegisterType.FLOAT64})


class Source(Protocol):
    """Where a meter's values come from."""

    @property
    def digits(self) -> Mapping[str, int]:
        """Decimals to which float registers are rounded, by quantity; below zero, tens, hundreds and so on."""

    def values(self, serial: int, now_ms: int) -> Mapping[str, float] | None:
        """Return values by point name for the frame `serial` at UTC milliseconds; None when the data has ended."""


class FixedSource:
    """Values that a test sets."""

    digits: Mapping[str, int] = {}

    def __init__(self, values: Mapping[str, float]) -> None:
        """Take values by point name; `now` may be changed at any time."""
        self.now = dict(values)

    def values(self, serial: int, now_ms: int) -> Mapping[str, float]:  # noqa: ARG002 - the same at any time
        """Return what was set."""
        return self.now


@dataclass(frozen=True, slots=True)
class Frame:
    """The registers of a meter at one instant."""

    words: Mapping[tuple[Table, int], int]


class SimulatedMeter:
    """Answers reads from frames; a read that covers `scan_serial` opens the next one and notes it in the ledger."""

    def __init__(
        self,
        *,
        meter_id: str,
        profile: Profile,
        source: Source,
        unit_id: int = 1,
        points: Iterable[str] | None = None,
        ledger: Ledger | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """Describe the meter.

        `profile` comes from `with_identity`, or is any other: then every read opens a frame, which the
        ledger does not note. `points` are those that the ledger notes; left out, all that the source offers.
        Raises: ValueError when the profile is not read by Modbus.
        """
        if profile.modbus is None:
            raise ValueError(f"profile {profile.id} is not read by Modbus")
        self.id = meter_id
        self.profile = profile
        self.unit_id = unit_id
        self.has_ended = False
        """Whether the source's data has ended; such a meter answers with an exception."""
        self._modbus: ModbusSettings = profile.modbus
        self._source = source
        self._ledger = ledger or Ledger(None)
        self._now_ms = now_ms
        served = [point for point in profile.points if point.unit_id in (None, unit_id) and point.is_readable]
        self._serial_point = next((point for point in served if point.name == SERIAL_POINT), None)
        self._noted = None if points is None else frozenset(points)
        # Where a map names one register twice, the point that is noted has the last word.
        self._served = sorted(served, key=lambda point: self._is_noted(point.name))
        self._blank = {place: word for point in self._served for place, word in self._placed_words(point, None).items()}
        self._decoders = {point.name: decoder_for(point, self._modbus) for point in self._served}
        self._spans = {table: _spans(self._served, table, self._modbus.max_hole) for table in Table}
        self._counter_offsets: dict[str, float] = {}
        self._newest: Frame | None = None
        self._fault: Fault | None = None
        self._requests_left: int | None = None

    @property
    def fault(self) -> Fault | None:
        """What is wrong with the meter now."""
        return self._fault

    def set_fault(self, fault: Fault | None) -> None:
        """Let something go wrong from now on, or end it."""
        if fault is not None and fault.kind is FaultKind.COUNTER_RESET:
            self._reset_counters()
            return
        self._fault = fault
        self._requests_left = fault.requests if fault is not None else None

    def meet_fault(self) -> Fault | None:
        """Return the fault that the request in hand meets, and count the request."""
        fault = self._fault
        if self._requests_left is not None:
            self._requests_left -= 1
            if self._requests_left <= 0:
                self.set_fault(None)
        return fault

    def opens_frame(self, read: Read) -> bool:
        """Say whether this read opens a frame of its own."""
        return self._serial_point is None or read.covers(self._serial_point.table, self._serial_point.address)

    def open_frame(self, fault: Fault | None, client: str = "") -> Frame:
        """Open the next frame and note it in the ledger: for whom, and what happens to its answer.

        Raises: Refusal when the data has ended.
        """
        serial, now_ms = self._ledger.last_serial(self.id) + 1, self._now_ms()
        words = self._encode(self._values(serial, now_ms))
        if self._serial_point is not None:
            self._ledger.append(
                ServedFrame(
                    meter=self.id,
                    serial=serial,
                    served_at_ms=now_ms,
                    values=self._decode(words),
                    answered=fault is None or fault.spares_the_answer,
                    fault=fault.kind if fault is not None else None,
                    client=client,
                )
            )
        self._newest = Frame(words)
        return self._newest

    def newest_frame(self) -> Frame:
        """Return the frame that was opened last, for a client that asks for something else first."""
        return self._newest or Frame(self._encode(self._values(self._ledger.last_serial(self.id), self._now_ms())))

    def entries(self, read: Read, frame: Frame) -> list[int]:
        """Return the registers or bits that are asked for; holes in the map read as 0.

        Raises: Refusal, as a strict device of this model would.
        """
        if not self._spans[read.table]:
            raise Refusal(ExceptionCode.ILLEGAL_FUNCTION)
        most = self._modbus.max_bits_per_read if read.table.holds_bits else self._modbus.max_registers_per_read
        if read.count > most:
            raise Refusal(ExceptionCode.ILLEGAL_DATA_VALUE)
        end = read.address + read.count
        is_mapped = any(first <= read.address and end <= last for first, last in self._spans[read.table])
        if not is_mapped or any(first < end and read.address <= last for first, last in self._modbus.forbidden_ranges):
            raise Refusal(ExceptionCode.ILLEGAL_DATA_ADDRESS)
        return [frame.words.get((read.table, address), 0) for address in range(read.address, end)]

    def _values(self, serial: int, now_ms: int) -> dict[str, float]:
        offered = self._source.values(serial, now_ms)
        if offered is None:
            self.has_ended = True
            raise Refusal(ExceptionCode.SERVER_DEVICE_FAILURE)
        values = {
            point.name: self._shown(point, offered[point.name]) for point in self._served if point.name in offered
        }
        if self._serial_point is not None:
            values[SERIAL_POINT] = float(serial)
        return values

    def _shown(self, point: Point, value: float) -> float:
        """Round as the device does, and let counters start again where they do."""
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
            point.name: offered[point.name]
            for point in self._served
            if point.kind is PointKind.COUNTER and point.name in offered
        }

    def _encode(self, values: Mapping[str, float]) -> dict[tuple[Table, int], int]:
        words = dict(self._blank)
        for point in self._served:
            if point.name in values:
                words.update(self._placed_words(point, values[point.name]))
        return words

    def _placed_words(self, point: Point, value: float | None) -> dict[tuple[Table, int], int]:
        words = self._words(point, value)
        return {(point.table, point.address + offset): word for offset, word in enumerate(words)}

    def _words(self, point: Point, value: float | None) -> Sequence[int]:
        """Encode a value; what is not there or cannot be expressed shows as the device shows it, or as 0."""
        for candidate in (value, None):
            try:
                return encode(point, candidate, self._modbus.byte_order, self._modbus.word_order)
            except ValueError:
                continue
        return (0,) * point.words

    def _decode(self, words: Mapping[tuple[Table, int], int]) -> dict[str, float]:
        decoded = {}
        for point in self._served:
            if self._is_noted(point.name):
                value = self._decoders[point.name](
                    [words[point.table, point.address + offset] for offset in range(point.words)]
                )
                if isinstance(value, float):
                    decoded[point.name] = value
        return decoded

    def _is_noted(self, name: str) -> bool:
        return name == SERIAL_POINT or self._noted is None or name in self._noted


def _spans(points: Iterable[Point], table: Table, max_hole: int) -> list[tuple[int, int]]:
    """Unite a table's points into (first, beyond last) spans that one request may read, small holes included."""
    spans: list[tuple[int, int]] = []
    for point in sorted((point for point in points if point.table is table), key=lambda point: point.address):
        end = point.address + point.words
        if spans and point.address - spans[-1][1] <= max_hole:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((point.address, end))
    return spans
