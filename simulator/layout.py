"""The register map of a profile as one unit serves it. Meters of one model share it. Pure."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from protocol.profile import Access, ModbusSettings, Point, Profile, Table
from protocol.registers import Value, decoder_for, encode
from simulator.faults import touches
from simulator.identity import SERIAL_POINT
from simulator.modbus import WRITE_ONE, WRITE_SEVERAL, ExceptionCode, Read, Refusal, Write

Words = dict[tuple[Table, int], int]
_WRITE_CODES = frozenset({*WRITE_ONE, *WRITE_SEVERAL})


class Layout:
    """Turns values into registers and back, and judges requests as a strict device of this model would."""

    def __init__(self, profile: Profile, *, unit_id: int = 1, points: Iterable[str] | None = None) -> None:
        """Lay out what the device serves under a unit id.

        `points` are those that `decode` shows; left out, all.
        Raises: ValueError when the profile is not read by Modbus.
        """
        if profile.modbus is None:
            raise ValueError(f"profile {profile.id} is not read by Modbus")
        self.profile = profile
        self._modbus: ModbusSettings = profile.modbus
        noted = None if points is None else frozenset((*points, SERIAL_POINT))
        here = [point for point in profile.points if point.unit_id in (None, unit_id)]
        # Where a map names one register twice, the point that is noted has the last word.
        self.served = sorted(
            (point for point in here if point.is_readable), key=lambda point: noted is None or point.name in noted
        )
        self.serial_point = next((point for point in self.served if point.name == SERIAL_POINT), None)
        self._noted = [
            (point, decoder_for(point, self._modbus))
            for point in self.served
            if not point.is_text and (noted is None or point.name in noted)
        ]
        self._exponents = {point.name: point.exponent_point for point in self.served if point.exponent_point}
        self._blank = {place: word for point in self.served for place, word in self._placed_words(point, None).items()}
        self._spans = {table: _spans(self.served, table, self._modbus.max_hole) for table in Table}
        self._writable = _writable_words(here)

    def encode(self, values: Mapping[str, Value]) -> Words:
        """Return the registers that show these values; what has none shows as the device shows it, or as 0."""
        words = dict(self._blank)
        for point in self.served:
            if point.name in values:
                words.update(self._placed_words(point, self._before_exponent(point, values)))
        return words

    def decode(self, words: Mapping[tuple[Table, int], int]) -> dict[str, float]:
        """Return the numbers that a client must decode, before any exponent is applied."""
        decoded = {}
        for point, decoder in self._noted:
            value = decoder([words[place] for place in _places(point)])
            if isinstance(value, float):
                decoded[point.name] = value
        return decoded

    def check_read(self, read: Read, absent: Collection[str] = ()) -> None:
        """Judge a read; `absent` names points that this very unit lacks.

        Raises: Refusal.
        """
        spans = self._spans[read.table]
        if not spans:
            raise Refusal(ExceptionCode.ILLEGAL_FUNCTION)
        most = self._modbus.max_bits_per_read if read.table.holds_bits else self._modbus.max_registers_per_read
        if read.count > most:
            raise Refusal(ExceptionCode.ILLEGAL_DATA_VALUE)
        end = read.address + read.count
        lacking = [
            (point.address, point.address + point.words - 1)
            for point in self.served
            if point.name in absent and point.table is read.table
        ]
        is_mapped = any(first <= read.address and end <= last for first, last in spans)
        if not is_mapped or touches((*self._modbus.forbidden_ranges, *lacking), read.address, read.count):
            raise Refusal(ExceptionCode.ILLEGAL_DATA_ADDRESS)

    def check_write(self, write: Write) -> None:
        """Judge a write: whole writable points only, with a function code that the device has.

        Raises: Refusal.
        """
        writable = self._writable.get(write.table)
        if not writable or write.function_code not in self._write_codes(write.table):
            raise Refusal(ExceptionCode.ILLEGAL_FUNCTION)
        asked = range(write.address, write.address + write.count)
        points = {writable[address] for address in asked if address in writable}
        whole = {address for first, words in points for address in range(first, first + words)}
        if not points or whole != set(asked):
            raise Refusal(ExceptionCode.ILLEGAL_DATA_ADDRESS)

    def _write_codes(self, table: Table) -> set[int]:
        """Return the codes that write a table; what a profile does not list of writing, it leaves open."""
        codes = {code for code, written in (*WRITE_ONE.items(), *WRITE_SEVERAL.items()) if written is table}
        if all(words > 1 for _, words in self._writable[table].values()):
            codes -= set(WRITE_ONE)
        listed = _WRITE_CODES.intersection(self._modbus.function_codes)
        return codes & listed or codes

    def _before_exponent(self, point: Point, values: Mapping[str, Value]) -> Value:
        value, exponent = values[point.name], values.get(self._exponents.get(point.name, ""))
        if isinstance(value, float) and isinstance(exponent, float):
            return value / math.pow(10, exponent)
        return value

    def _placed_words(self, point: Point, value: Value) -> Words:
        return dict(zip(_places(point), self._words(point, value), strict=True))

    def _words(self, point: Point, value: Value) -> Sequence[int]:
        for candidate in (value, None):
            try:
                return encode(point, candidate, self._modbus.byte_order, self._modbus.word_order)
            except ValueError:
                continue
        return (0,) * point.words


def _places(point: Point) -> list[tuple[Table, int]]:
    return [(point.table, point.address + offset) for offset in range(point.words)]


def _writable_words(points: Iterable[Point]) -> dict[Table, dict[int, tuple[int, int]]]:
    """Return, by table and address, the (address, words) of the writable point that lies there."""
    writable: dict[Table, dict[int, tuple[int, int]]] = {}
    for point in points:
        if point.access is not Access.READ:
            for table, address in _places(point):
                writable.setdefault(table, {})[address] = (point.address, point.words)
    return writable


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
