"""Devices of the profile library with plausible values, a cellular router among them."""

import time
from collections.abc import Callable, Iterable, Mapping

from protocol.library import get_profile
from protocol.registers import Value
from simulator.meter import SimulatedMeter
from simulator.plausible import PlausibleSource

ROUTER = "teltonika-rut-rutx-modbus"


def make_device(
    profile_id: str,
    *,
    meter_id: str | None = None,
    unit_id: int | None = None,
    given: Mapping[str, Value] | None = None,
    absent: Iterable[str] = (),
    seed: int = 1,
    turnaround_s: float = 0.0,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> SimulatedMeter:
    """Make a device of a library profile, under the unit id that is usual for it unless told otherwise.

    `given` are values by point name that hold instead of plausible ones, and `absent` points that this
    device lacks: it answers reads of them with exception 2. Both may be changed at any time: `given`
    where it was made, `absent` on the device.
    Raises: UnknownProfile; ValueError when the profile is not read by Modbus.
    """
    profile = get_profile(profile_id)
    source = PlausibleSource(profile, seed=seed, given=given)
    usual = profile.modbus.default_unit_id if profile.modbus is not None else None
    return SimulatedMeter(
        meter_id=meter_id or profile_id,
        profile=profile,
        source=source,
        unit_id=unit_id if unit_id is not None else usual or 1,
        absent=absent,
        turnaround_s=turnaround_s,
        now_ms=now_ms,
    )
