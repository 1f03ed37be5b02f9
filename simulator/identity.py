"""The point that gives every frame of a simulated meter its identity. Pure.

No real meter has it, so it is put where the model's own map has a hole, inside the first request that a
client needs for the points it reads: whoever then reads the rest reads it of the same frame. Where there
is no such hole, a point that the client does not read gives way.
"""

from collections.abc import Collection, Sequence

from protocol.manifest import PointKind
from protocol.profile import ModbusSettings, Point, Profile, RegisterType

SERIAL_POINT = "scan_serial"
_WORDS = 2


def with_identity(profile: Profile, point_names: Collection[str]) -> Profile:
    """Return the profile with the point `scan_serial` added, under the id `<id>-simulated`.

    `point_names` are the points that the client will read, in one table and under one unit id.
    Raises: ValueError when they are not, or when the map leaves no room.
    """
    if profile.modbus is None:
        raise ValueError(f"profile {profile.id} is not read by Modbus")
    read = profile.with_exponents(profile.get_point(name) for name in point_names)
    tables = {(point.table, point.unit_id) for point in read}
    if len(tables) != 1:
        raise ValueError(f"the points of profile {profile.id} lie in several tables: choose points of one")
    [(table, unit_id)] = tables
    if table.holds_bits:
        raise ValueError(f"the points of profile {profile.id} are bits: choose points in registers")
    address = _find_room(profile, profile.modbus, sorted(read, key=lambda point: point.address))
    serial = Point(
        name=SERIAL_POINT,
        address=address,
        table=table,
        type=RegisterType.UINT32,
        quantity="count",
        kind=PointKind.COUNTER,
        unit_id=unit_id,
        note="number of the frame that a simulated meter serves",
    )
    kept = [point for point in profile.points if point.table is not table or not _overlaps(point, address)]
    return profile.model_copy(update={"id": f"{profile.id}-simulated", "points": (*kept, serial)})


def _find_room(profile: Profile, modbus: ModbusSettings, read: Sequence[Point]) -> int:
    start, table = read[0].address, read[0].table
    # Even distances only: some makers' requests must begin and end on even addresses. What lies before
    # the first point comes last, because it moves the beginning of the client's request.
    candidates: list[int] = [*range(start, start + modbus.max_registers_per_read, 2), start - 2]
    of_table = [point for point in profile.points if point.table is table]
    for obstacles in (of_table, read):
        for address in candidates:
            is_free = address >= 0 and not any(_overlaps(point, address) for point in obstacles)
            if is_free and not _is_forbidden(address, modbus) and _is_in_first_request(address, read, modbus):
                return address
    raise ValueError(f"profile {profile.id} has no two free registers beside the points that are read")


def _overlaps(point: Point, address: int) -> bool:
    return point.address < address + _WORDS and address < point.address + point.words


def _is_forbidden(address: int, modbus: ModbusSettings) -> bool:
    return any(first < address + _WORDS and address <= last for first, last in modbus.forbidden_ranges)


def _is_in_first_request(address: int, read: Sequence[Point], modbus: ModbusSettings) -> bool:
    """Follow the points upwards as far as one request may reach, and see whether it passes the address."""
    spans = sorted([(address, _WORDS), *((point.address, point.words) for point in read)])
    start = end = spans[0][0]
    for at, words in spans:
        is_forbidden = any(first < at and end <= last for first, last in modbus.forbidden_ranges)
        if at - end > modbus.max_hole or at + words - start > modbus.max_registers_per_read or is_forbidden:
            return False
        if at == address:
            return True
        end = max(end, at + words)
    return False
