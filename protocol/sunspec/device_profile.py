"""From a discovered device to a profile that it can be polled with."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from protocol.identifiers import IDENTIFIER_LENGTH_MAX
from protocol.profile import Confidence, ModbusSettings, Point, Profile
from protocol.sunspec.definitions import HEADER_WORDS, model_ids
from protocol.sunspec.evidence import is_awake, with_power_factor_settled, without_missing_points
from protocol.sunspec.points import ModelPoints, Setting, points_of
from protocol.sunspec.vocabulary import get_vocabulary
from protocol.sunspec.walk import FoundModel, SunSpecDevice, Words

_SOURCE = "sunspec/models json/, found on the device by discovery"
_ROOM_FOR_NUMBER = 4
_STORAGE_CONTROL = 124
_PHASES = {1: (101, 111, 201, 211), 2: (102, 112, 202, 212), 3: (103, 113, 203, 204, 213, 214)}


def profile_from(
    device: SunSpecDevice,
    words_by_model: Mapping[FoundModel, Words] | None = None,
    *,
    max_registers_per_read: int = 125,
) -> Profile:
    """Make a profile with concrete addresses.

    With the words of its models (`walk.read_steps`), points that the device says it does not have are
    left out, unless its inverter sleeps; models that it did not let be read are left out whole.
    The unit id is not part of it: devices of one kind share a profile.
    """
    models = _models(device, words_by_model)
    is_asleep = words_by_model is not None and not is_awake(models)
    if words_by_model is not None:
        models = [with_power_factor_settled(model) for model in models]
        models = models if is_asleep else [without_missing_points(model) for model in models]
    return Profile(
        id=_profile_id(device),
        manufacturer=device.manufacturer or "unknown",
        model=device.model or "SunSpec device",
        category=_category(models),
        phases=next((count for found in device.models for count, ids in _PHASES.items() if found.id in ids), None),
        confidence=Confidence.HIGH,
        sources=(_SOURCE,),
        quirks=tuple(_quirks(device, is_asleep=is_asleep)),
        modbus=ModbusSettings(
            transports=("tcp", "rtu"),
            function_codes=(3,),
            default_tcp_port=502,
            max_registers_per_read=max_registers_per_read,
            # A model is read whole, so that a value and its scale factor come from one answer ...
            max_hole=124,
            # ... and no request spans two models, which would cut the second one anywhere.
            forbidden_ranges=tuple((found.address, found.address + HEADER_WORDS - 1) for found in device.models),
            identify=_identify(device),
        ),
        points=tuple(sorted(_claimed(models), key=lambda point: point.address)),
    )


def name_apart(profiles: Iterable[Profile]) -> tuple[Profile, ...]:
    """Give profiles that share an id without being equal a number, `-2`, `-3`; equal ones share theirs."""
    kinds: dict[str, list[Profile]] = {}
    named = []
    for profile in profiles:
        kind = kinds.setdefault(profile.id, [])
        if profile not in kind:
            kind.append(profile)
        number = kind.index(profile) + 1
        named.append(profile if number == 1 else profile.model_copy(update={"id": f"{profile.id}-{number}"}))
    return tuple(named)


def _models(device: SunSpecDevice, words_by_model: Mapping[FoundModel, Words] | None) -> list[ModelPoints]:
    vocabulary = get_vocabulary()
    families = {found.id: vocabulary.family_of(found.id) for found in device.models if found.id in model_ids()}
    setting = Setting(
        manufacturer=device.manufacturer,
        signs=vocabulary.signs,
        has_inverter=any(family is not None and family.role == "inverter" for family in families.values()),
        has_storage_control=_STORAGE_CONTROL in families,
    )
    ordinals: Counter[int] = Counter()
    models = []
    for found in device.models:
        family = families.get(found.id)
        words = None if words_by_model is None else words_by_model.get(found)
        if family is not None and (words_by_model is None or words is not None):
            ordinals[found.id] += 1
            models.append(points_of(found, family, setting, ordinals[found.id], words))
    return models


def _claimed(models: Iterable[ModelPoints]) -> Iterator[Point]:
    """Give each name to the first model in the order of preference that offers it."""
    vocabulary = get_vocabulary()
    taken: set[str] = set()
    for model in sorted(models, key=lambda model: vocabulary.preference(model.found.id)):
        claimed = [item.point for item in model.points if item.point.name not in taken]
        taken.update(point.name for point in claimed)
        needed = {point.exponent_point for point in claimed}
        yield from claimed
        yield from (exponent for exponent in model.exponents if exponent.name in needed)


def _profile_id(device: SunSpecDevice) -> str:
    words = re.findall("[a-z0-9]+", f"sunspec {device.manufacturer} {device.model}".lower())
    return "-".join(words)[: IDENTIFIER_LENGTH_MAX - _ROOM_FOR_NUMBER].rstrip("-")


def _category(models: Iterable[ModelPoints]) -> str:
    roles = {model.family.role for model in models}
    if "inverter" in roles:
        return "battery_inverter" if "storage" in roles else "pv_inverter"
    if "meter" in roles:
        return "electricity_meter"
    return "battery" if "storage" in roles else "sunspec_device"


def _identify(device: SunSpecDevice) -> str:
    chain = ", ".join(f"{found.id} at {found.address}" for found in device.models)
    version = f"; firmware {device.version}" if device.version else ""
    return f'FC03 {device.base} 2 registers = "SunS"; models {chain}{version}'


def _quirks(device: SunSpecDevice, *, is_asleep: bool) -> Iterator[str]:
    yield "Addresses were found by discovery: a firmware update may move them, then discover again."
    if unknown := [str(found.id) for found in device.models if found.id not in model_ids()]:
        yield f"Models without a definition here, not read: {', '.join(unknown)}."
    if device.fault is not None:
        yield f"The chain of models ended early: {device.fault}."
    if is_asleep:
        yield "The inverter was not producing when it was discovered: some points may never have a value."
