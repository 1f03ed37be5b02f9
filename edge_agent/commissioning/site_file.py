"""What a scan found, as the site configuration that a person starts from."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from edge_agent.commissioning.fingerprint import Certainty
from edge_agent.commissioning.identify import Identity
from edge_agent.commissioning.scan import FoundLine, ScanResult
from edge_agent.commissioning.toml_text import write_toml
from edge_agent.errors import AgentError
from edge_agent.site.compile import compile_site
from protocol.identifiers import IDENTIFIER_LENGTH_MAX
from protocol.line_config import Transport
from protocol.profile import WORDS, Point, Profile
from protocol.quantities import get_quantity
from protocol.site.estimate import bus_load
from protocol.site_config import BusConfig, MeterConfig, SiteConfig
from protocol.sunspec.device_profile import name_apart

_PERIODS_S = (60, 300, 900, 1_800)
_FILLED_MAX = 0.7
"""The part of a period that reading may take."""
_TCP_TIMEOUT_S, _SERIAL_TIMEOUT_S = 2.0, 1.0


@dataclass(frozen=True)
class SiteDraft:
    """A configuration, and what a person has to see to."""

    config: SiteConfig
    open_questions: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return the file's content."""
        head = [
            "# Written by `meterhaul edge scan`. Give the meters the names that people on site use (label), then run",
            "# `meterhaul edge check` to see what would be read, and `meterhaul edge read METER` to see values.",
            *(f"# To do: {question}" for question in self.open_questions),
        ]
        return "\n".join(head) + "\n\n" + write_toml(_site_values(self.config), inline=("points",))


def draft_site(result: ScanResult) -> SiteDraft:
    """Make a configuration of all units that were recognised.

    Raises: AgentError when there is none.
    """
    lines, own = _with_names_apart(result.lines)
    questions = [question for line in lines for question in _questions(line)]
    taken: set[str] = set()
    buses = [bus for line in lines if (bus := _bus(line, taken)) is not None]
    if not buses:
        raise AgentError(
            "no device was recognised, so there is no configuration to write; name the profile yourself "
            "(docs/profiles.md lists and explains them)"
        )
    return SiteDraft(_with_fitting_periods(buses, own), tuple(questions))


def write_site(draft: SiteDraft, path: Path, *, may_overwrite: bool) -> None:
    """Write the file, whole or not at all.

    Raises: AgentError when it is there already, or cannot be written.
    """
    if path.exists() and not may_overwrite:
        raise AgentError(f"{path} is there already; name another file, or overwrite it with --force")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(draft.text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise AgentError(f"{path} cannot be written ({error.strerror}); name another file with --write") from None


def _with_names_apart(lines: Iterable[FoundLine]) -> tuple[list[FoundLine], tuple[Profile, ...]]:
    """Give SunSpec profiles that share an id names of their own, and return each once."""
    lines = list(lines)
    profiles = [profile for line in lines for unit in line.units for _, profile in unit.sunspec]
    named = iter(name_apart(profiles))
    renamed = [
        replace(
            line,
            units=tuple(
                replace(unit, sunspec=tuple((device, next(named)) for device, _ in unit.sunspec)) for unit in line.units
            ),
        )
        for line in lines
    ]
    own = {profile.id: profile for line in renamed for unit in line.units for _, profile in unit.sunspec}
    return renamed, tuple(own.values())


def _bus(line: FoundLine, taken: set[str]) -> BusConfig | None:
    meters = [meter for unit in line.units for meter in _meters(unit, taken)]
    if not meters:
        return None
    name = "rs485" if line.line.serial is not None else str(line.line.host)
    values = line.line.model_dump(exclude_unset=True)
    values["id"] = _free_name(name, taken)
    values["transport"] = line.line.transport
    values["timeout_s"] = _SERIAL_TIMEOUT_S if line.line.transport is Transport.RTU else _TCP_TIMEOUT_S
    return BusConfig.model_validate({**values, "meters": meters})


def _meters(unit: Identity, taken: set[str]) -> Iterator[MeterConfig]:
    for profile in unit.profiles:
        if unit.certainty is Certainty.GUESS:
            continue  # a wrong guess would look like a meter; it is named among the open questions
        yield MeterConfig(
            id=_free_name(f"{profile.id}-{unit.unit_id}", taken),
            profile=profile.id,
            unit_id=unit.unit_id,
            label=f"{profile.manufacturer} {profile.model}"[:120] + f", unit {unit.unit_id}",
        )


def _questions(line: FoundLine) -> Iterator[str]:
    where = line.line.address
    for unit in line.units:
        place = f"unit {unit.unit_id} at {where}"
        match unit.certainty:
            case Certainty.UNKNOWN:
                yield f"{place} answers and fits no profile of the library; see docs/profiles.md"
            case Certainty.GUESS:
                names = ", ".join(candidate.profile.id for candidate in unit.ranked[:3])
                yield f"{place} may be {names}, which no value proves; look at its type plate and add it"
            case Certainty.AMBIGUOUS:
                names = ", ".join(candidate.profile.id for candidate in unit.rivals)
                yield f"{place} may as well be {names}; look at its type plate"
    for unit_id in line.garbled:
        yield f"unit {unit_id} at {where} answers in a garbled way; two devices may share that unit id"


def _free_name(wanted: str, taken: set[str]) -> str:
    slug = re.sub(r"[^a-z0-9._-]+", "-", wanted.lower()).strip("._-")[: IDENTIFIER_LENGTH_MAX - 4].strip("._-") or "bus"
    name, number = slug, 2
    while name in taken:
        name, number = f"{slug}.{number}", number + 1
    taken.add(name)
    return name


def _with_fitting_periods(buses: list[BusConfig], profiles: tuple[Profile, ...]) -> SiteConfig:
    """Choose for every bus the shortest period in which it gets round with room to spare.

    Raises: SettingsError when it is not to be had in any.
    """
    slowest = SiteConfig(buses=tuple(_with_period(bus, _PERIODS_S[-1]) for bus in buses), profiles=profiles)
    loads = [bus_load(bus) for bus in compile_site(slowest, "what was found").buses]
    chosen = [
        next((period_s for period_s in _PERIODS_S if load.cycle.expected_s <= _FILLED_MAX * period_s), _PERIODS_S[-1])
        for load in loads
    ]
    fitting = (_with_period(bus, period_s) for bus, period_s in zip(buses, chosen, strict=True))
    return slowest.model_copy(update={"buses": tuple(fitting)})


def _with_period(bus: BusConfig, period_s: float) -> BusConfig:
    meters = tuple(meter.model_copy(update={"period_s": float(period_s)}) for meter in bus.meters)
    return bus.model_copy(update={"meters": meters})


def _site_values(config: SiteConfig) -> dict[str, object]:
    values: dict[str, object] = {"buses": [_bus_values(bus) for bus in config.buses]}
    if config.profiles:
        values["profiles"] = [_profile_values(profile) for profile in config.profiles]
    return values


def _bus_values(bus: BusConfig) -> dict[str, object]:
    meters = [
        {"id": meter.id, "label": meter.label, "profile": meter.profile, "unit_id": meter.unit_id}
        | _dump(meter)
        | {"period_s": meter.period_s}
        for meter in bus.meters
    ]
    line = {"id": bus.id} | _dump(bus)
    line.pop("meters")
    if bus.transport in (Transport.TCP, Transport.RTU):
        line.pop("transport", None)
    if bus.serial is not None:
        line["serial"] = {"device": bus.serial.device, "baud": bus.serial.baud} | _dump(bus.serial)
    else:
        line["port"] = bus.port
    return line | {"meters": meters}


def _profile_values(profile: Profile) -> dict[str, object]:
    values = _dump(profile)
    values["points"] = [_point_values(point) for point in profile.points]
    return values


def _point_values(point: Point) -> dict[str, object]:
    values = _dump(point)
    quantity = get_quantity(point.quantity)
    for key, usual in (("unit", quantity.unit), ("kind", quantity.kind), ("words", WORDS.get(point.type))):
        if values.get(key) == usual:
            del values[key]
    return values


def _dump(model: BaseModel) -> dict[str, Any]:
    """Return what was set, as plain values; numbers stay numbers."""
    values: Mapping[str, Any] = model.model_dump(exclude_defaults=True)
    return {key: value for key, value in values.items() if value is not None}
