"""Find out what a unit is: SunSpec by its own word, else the profile of the library that fits best."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from edge_agent.commissioning.fingerprint import (
    PROOF_MIN,
    Candidate,
    Certainty,
    Verdict,
    certainty,
    judge,
    judge_mark,
    judge_refused,
    mark_of,
    rank,
    rivals,
    telling_points,
    weigh_values,
)
from edge_agent.commissioning.unit_probe import UnitProbe, Words
from edge_agent.errors import BusUnreachable, MeterGarbled, MeterUnreachable
from protocol.library import default_points
from protocol.profile import ModbusSettings, Profile, Table
from protocol.registers import Value, apply_exponents, decode
from protocol.site.read_plan import ReadRequest, plan_requests, readable
from protocol.sunspec.device_profile import profile_from
from protocol.sunspec.walk import Steps, SunSpecDevice, discover_steps, read_steps

_FINALISTS_MAX = 8
_SINGLE_READS_MAX = 12
"""Points of refused requests that are asked for one by one, per profile."""
_TABLES = {3: Table.HOLDING_REGISTER, 4: Table.INPUT_REGISTER}
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Identity:
    """What a unit is taken for."""

    unit_id: int
    certainty: Certainty
    ranked: tuple[Candidate, ...] = ()
    """Profiles of the library, the best first."""
    sunspec: tuple[tuple[SunSpecDevice, Profile], ...] = ()
    """What the unit says of itself; then nothing else was tried."""
    is_garbled: bool = False
    """Several answers could not be used: two devices may share the unit id."""

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """Return what to read the unit with; empty when it is not known."""
        if self.sunspec:
            return tuple(profile for _, profile in self.sunspec)
        return tuple(candidate.profile for candidate in self.ranked[:1])

    @property
    def rivals(self) -> tuple[Candidate, ...]:
        """Return the profiles that fit nearly as well as the first."""
        return tuple(rivals(list(self.ranked)))


async def identify(probe: UnitProbe, library: Sequence[Profile]) -> Identity:
    """Ask a unit what tells the library's profiles apart.

    Raises: BusUnreachable when the line is lost.
    """
    sunspec = await _discover(probe)
    if sunspec:
        return Identity(probe.unit_id, Certainty.SURE, sunspec=sunspec, is_garbled=probe.garbled > 1)
    first = [await _first_look(probe, profile) for profile in library]
    promising = [candidate for candidate in first if candidate.fitting and candidate.proof > 0]
    promising.sort(key=lambda candidate: -candidate.proof)
    finalists = promising[:_FINALISTS_MAX]
    for candidate in finalists:
        await _whole_look(probe, candidate, is_decisive=False)
    if not finalists or finalists[0].proof < PROOF_MIN:
        mute = [candidate for candidate in first if not candidate.evidence]
        for candidate in mute:
            await _whole_look(probe, candidate, is_decisive=True)
        finalists += mute
    ranked = rank(finalists)
    return Identity(probe.unit_id, certainty(ranked), tuple(ranked), is_garbled=probe.garbled > 1)


def may_stand_on(profile: Profile, *, is_serial: bool) -> bool:
    """Say whether a device of this profile may answer on such a line; behind a gateway any may."""
    if profile.modbus is None or not profile.points or profile.category == "sunspec_device":
        return False
    return not is_serial or any(transport.startswith("rtu") for transport in profile.modbus.transports)


async def _discover(probe: UnitProbe) -> tuple[tuple[SunSpecDevice, Profile], ...]:
    devices = await _drive(discover_steps(probe.unit_id), probe) or ()
    found = []
    for device in devices:
        words = await _drive(read_steps(device), probe)
        profile = (
            profile_from(device)
            if words is None
            else profile_from(device, words.by_model, max_registers_per_read=words.max_registers_per_read)
        )
        found.append((device, profile))
    return tuple(found)


async def _drive(steps: Steps[_Result], probe: UnitProbe) -> _Result | None:
    """Carry out the steps; None when the unit falls silent."""
    try:
        address, count = steps.send(None)
        while True:
            words = await probe.read(Table.HOLDING_REGISTER, address, count)
            address, count = steps.send(words)
    except StopIteration as done:
        result: _Result = done.value
        return result
    except BusUnreachable:
        raise
    except (MeterUnreachable, MeterGarbled):
        steps.close()
        return None


async def _first_look(probe: UnitProbe, profile: Profile) -> Candidate:
    """Ask for what tells most, and stop when it speaks against the profile."""
    candidate = Candidate(profile)
    settings = _settings(profile)
    mark = mark_of(profile)
    if mark is not None:
        words = await _words(probe, _TABLES[mark.function_code], mark.address, len(mark.words))
        candidate.evidence.append(judge_mark(mark, words))
    points = readable(profile.with_exponents(telling_points(profile)), settings)
    if candidate.is_refuted or not points:
        return candidate
    strongest = points[0].name
    # Holes are not read across here: a device that refuses them would look like another.
    plan = plan_requests(points, settings.model_copy(update={"max_hole": 0}), probe.unit_id)
    values: dict[str, Value] = {}
    for request in sorted(plan, key=lambda request: strongest not in _names(request)):
        read = await _read(probe, request, settings)
        if read is None:
            candidate.evidence += [judge_refused(planned.point) for planned in request.points]
            if strongest in _names(request):
                return candidate
            continue
        values |= read
        if strongest in read and judge(profile, points[0], read[strongest]).verdict is Verdict.AGAINST:
            break
    applied = apply_exponents(points, values)
    candidate.evidence += [
        judge(profile, point, applied[point.name])
        for point in points
        if point.name in applied and point.quantity != "exponent"
    ]
    return candidate


async def _whole_look(probe: UnitProbe, candidate: Candidate, *, is_decisive: bool) -> None:
    """Ask for everything that would be polled; where only that decides, stop at the first refusal."""
    profile, settings = candidate.profile, _settings(candidate.profile)
    chosen = tuple(point for point in default_points(profile) if point.unit_id in (None, probe.unit_id))
    points = readable(profile.with_exponents(chosen), settings)
    candidate.asked = len([point for point in points if point.quantity != "exponent"])
    values: dict[str, Value] = {}
    singles = 0
    for request in plan_requests(points, settings, probe.unit_id):
        read = await _read(probe, request, settings)
        if read is not None:
            values |= read
            continue
        if is_decisive:
            return
        for planned in request.points[: max(0, _SINGLE_READS_MAX - singles)]:
            singles += 1
            [alone] = plan_requests((planned.point,), settings, probe.unit_id)
            values |= await _read(probe, alone, settings) or {}
    applied = apply_exponents(points, values)
    measured = {point.name: point for point in points if point.quantity != "exponent"}
    weigh_values(candidate, measured, {name: value for name, value in applied.items() if name in measured})


async def _read(probe: UnitProbe, request: ReadRequest, settings: ModbusSettings) -> dict[str, Value] | None:
    words = await _words(probe, request.table, request.address, request.count)
    if words is None:
        return None
    return {
        planned.point.name: decode(planned.point, planned.words_of(words), settings.byte_order, settings.word_order)
        for planned in request.points
    }


async def _words(probe: UnitProbe, table: Table, address: int, count: int) -> Words | None:
    """Read; a silence or a garbled answer says as little as a refusal.

    Raises: BusUnreachable.
    """
    try:
        return await probe.read(table, address, count)
    except BusUnreachable:
        raise
    except (MeterUnreachable, MeterGarbled):
        return None


def _names(request: ReadRequest) -> set[str]:
    return {planned.point.name for planned in request.points}


def _settings(profile: Profile) -> ModbusSettings:
    if profile.modbus is None:
        raise ValueError(f"profile {profile.id!r} is not read by Modbus")
    return profile.modbus
