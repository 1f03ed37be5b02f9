"""Points to the fewest legal Modbus requests. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from protocol.profile import ModbusSettings, Point, Table


@dataclass(frozen=True, slots=True)
class PlannedPoint:
    """A point and where its words begin in the answer to its request."""

    point: Point
    offset: int

    def words_of(self, answer: Sequence[int]) -> Sequence[int]:
        """Cut the point's words out of the answer."""
        return answer[self.offset : self.offset + self.point.words]


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """One request: `count` registers or bits of one table, beginning at `address`."""

    unit_id: int
    table: Table
    address: int
    count: int
    points: tuple[PlannedPoint, ...]
    """By ascending offset; each point stands in exactly one request."""


def plan_reads(points: Iterable[Point], settings: ModbusSettings, default_unit_id: int) -> tuple[ReadRequest, ...]:
    """Plan the fewest requests that read each point once, ordered by unit id, table and address.

    No request asks for more than the device allows, spans a hole above `max_hole`, touches a forbidden
    range, or splits a value. `points` must hold the exponent points too (`Profile.with_exponents`).
    Raises: ValueError for a point that cannot be read: too long, forbidden, write-only, or without its
    exponent point.
    """
    chosen = tuple(points)
    _refuse_unreadable(chosen, settings)
    return plan_requests(chosen, settings, default_unit_id)


def plan_requests(points: Iterable[Point], settings: ModbusSettings, default_unit_id: int) -> tuple[ReadRequest, ...]:
    """Plan as `plan_reads` does, for points that are known to be readable or are tried."""

    def place(point: Point) -> tuple[int, Table]:
        return (default_unit_id if point.unit_id is None else point.unit_id, point.table)

    ordered = sorted(points, key=lambda point: (*place(point), point.address, point.words))
    requests: list[ReadRequest] = []
    for (unit_id, table), group in groupby(ordered, key=place):
        requests.extend(request_for(unit_id, table, run) for run in _runs(group, settings))
    return tuple(requests)


def readable(points: Iterable[Point], settings: ModbusSettings) -> tuple[Point, ...]:
    """Return the points that `plan_reads` would not refuse."""
    chosen = tuple(points)
    names = {point.name for point in chosen}
    return tuple(point for point in chosen if _fault(point, settings, names) is None)


def request_for(unit_id: int, table: Table, run: Sequence[Point]) -> ReadRequest:
    """Build the one request that reads points of a table, ascending by address."""
    start = run[0].address
    return ReadRequest(
        unit_id=unit_id,
        table=table,
        address=start,
        count=max(_end(point) for point in run) - start,
        points=tuple(PlannedPoint(point, point.address - start) for point in run),
    )


def _runs(ordered: Iterable[Point], settings: ModbusSettings) -> Iterable[list[Point]]:
    """Cut points of one table, ascending by address, into runs that each fit one request.

    Taking points while they fit is optimal: a request that begins at the lowest address still open
    cannot begin later, and one that stops earlier than it must covers no more than this one.
    """
    run: list[Point] = []
    end = 0
    for point in ordered:
        if run and not _fits(run[0].address, end, point, settings):
            yield run
            run = []
        end = max(end, _end(point)) if run else _end(point)
        run.append(point)
    if run:
        yield run


def _fits(start: int, end: int, point: Point, settings: ModbusSettings) -> bool:
    """Say whether a request for `start` (inclusive) to `end` (exclusive) may grow to take the point along."""
    return (
        max(end, _end(point)) - start <= _limit(point.table, settings)
        and point.address - end <= settings.max_hole
        and not _is_forbidden(end, point.address, settings)
    )


def _refuse_unreadable(points: tuple[Point, ...], settings: ModbusSettings) -> None:
    names = {point.name for point in points}
    for point in points:
        if fault := _fault(point, settings, names):
            message = f"point {point.name!r} cannot be read: {fault}"
            raise ValueError(message)


def _fault(point: Point, settings: ModbusSettings, names: set[str]) -> str | None:
    limit = _limit(point.table, settings)
    if not point.is_readable:
        return "it is write-only"
    if point.words > limit:
        return f"it takes {point.words} words, and the device answers at most {limit} at once"
    if _is_forbidden(point.address, _end(point), settings):
        return f"its address {point.address} lies in a forbidden range"
    if point.exponent_point is not None and point.exponent_point not in names:
        return f"its exponent point {point.exponent_point!r} is not read along"
    return None


def _is_forbidden(start: int, end: int, settings: ModbusSettings) -> bool:
    return any(first < end and start <= last for first, last in settings.forbidden_ranges)


def _limit(table: Table, settings: ModbusSettings) -> int:
    return settings.max_bits_per_read if table.holds_bits else settings.max_registers_per_read


def _end(point: Point) -> int:
    return point.address + point.words
