"""What a scan found, as data for scripts and as text for a technician."""

from collections.abc import Iterator
from typing import Any

from edge_agent.commissioning.fingerprint import Candidate, Certainty
from edge_agent.commissioning.identify import Identity
from edge_agent.commissioning.scan import FoundLine, ScanResult, setting_text
from protocol.line_config import LineConfig, Transport

_EVIDENCE_SHOWN = 4
_RIVALS_SHOWN = 4


def scan_report(result: ScanResult) -> dict[str, Any]:
    """Report what was found, and what was tried."""
    return {
        "lines": [_line_report(line) for line in result.lines],
        "tried": result.tried,
        "impossible": result.impossible,
        "garbled": result.garbled,
    }


def scan_text(result: ScanResult) -> str:
    """Write what was found: a paragraph per line, a few lines per unit."""
    return "\n\n".join("\n".join(_line_lines(line)) for line in result.lines)


def nothing_found(result: ScanResult, *, is_serial: bool, units: str) -> str:
    """Say that nobody answered, what was tried, and what to look at."""
    if not is_serial:
        hosts = result.tried[0] if len(result.tried) == 1 else f"{len(result.tried)} addresses"
        return (
            f"nobody answered at {hosts}, unit ids {units}; see that the device is on and in this network, "
            "that Modbus TCP is enabled in it and on which port (--port), and name the unit id with --units"
        )
    tried = (
        f"{len(result.tried)} settings from {result.tried[0]} to {result.tried[-1]}" if result.tried else "no setting"
    )
    lacking = f"; this port cannot do {', '.join(result.impossible[:3])}" if result.impossible else ""
    if result.garbled:
        return (
            f"bytes came at {', '.join(result.garbled[:4])}, but no proper answer (tried {tried}, unit ids {units}{lacking}); "
            "two devices may share a unit id, so leave one connected and scan again, and see to the termination "
            "(120 ohm at both ends) and to a second master on the line"
        )
    return (
        f"nobody answered (tried {tried}, unit ids {units}{lacking}); exchange A and B, see that the device is on and "
        "that its display shows Modbus RTU and which baud rate and unit id, and try --units 1-247"
    )


def line_text(line: LineConfig) -> str:
    """Name a line with its settings."""
    if line.serial is not None:
        return f"{line.serial.device}: {setting_text(line.serial)}"
    framing = {Transport.RTU_OVER_TCP: "RTU over TCP", Transport.TLS: "Modbus TCP with TLS"}
    return f"{line.address}: {framing.get(line.transport, 'Modbus TCP')}"


def _line_lines(line: FoundLine) -> Iterator[str]:
    yield line_text(line.line)
    if line.answers_any_unit_id:
        yield "  answers under every unit id: one device, shown once"
    for unit in line.units:
        yield from (f"  {text}" for text in _unit_lines(unit))
    for unit_id in line.garbled:
        yield f"  unit {unit_id}: garbled answers; two devices may share this unit id: leave one connected, scan again"


def _unit_lines(unit: Identity) -> Iterator[str]:
    head = f"unit {unit.unit_id}: "
    indent = " " * 4
    if unit.is_garbled:
        yield f"{head}some answers were garbled; two devices may share this unit id, or the line is noisy"
    if unit.sunspec:
        for device, profile in unit.sunspec:
            models = ", ".join(str(model.id) for model in device.models)
            yield f"{head}{profile.manufacturer} {profile.model}, serial number {device.serial or 'not given'} (SunSpec)"
            yield f"{indent}models {models}; {len(profile.points)} points; profile {profile.id} made for this site"
        return
    if unit.certainty is Certainty.UNKNOWN:
        yield f"{head}answers, and fits no profile of the library"
        yield f"{indent}write a profile for it (docs/profiles.md), or look for its manual"
        return
    best = unit.ranked[0]
    said = "may be " if unit.certainty is Certainty.GUESS else ""
    yield f"{head}{said}{best.profile.id} ({best.profile.manufacturer} {best.profile.model})"
    yield f"{indent}{evidence_text(best)}"
    others = [f"{rival.profile.id} ({rival.answered} of {rival.asked} points)" for rival in unit.rivals]
    if others:
        yield f"{indent}fits as well: {', '.join(others[:_RIVALS_SHOWN])}; look at the type plate"


def evidence_text(candidate: Candidate) -> str:
    """Say what speaks for a profile: `voltage l1 n 231.2 V, frequency 50 Hz fit; 75 of 75 points answered`."""
    strong = [str(item) for item in candidate.fitting if item.weight > 1] or [str(item) for item in candidate.fitting]
    covered = f"{candidate.answered} of {candidate.asked} points answered"
    if not strong:
        return f"{covered}; no value proves it"
    shown = ", ".join(strong[:_EVIDENCE_SHOWN])
    return f"{shown} {'fit' if len(strong) > 1 else 'fits'}; {covered}"


def _line_report(line: FoundLine) -> dict[str, Any]:
    return {
        "address": line.line.address,
        "transport": line.line.transport.value,
        "serial": None if line.line.serial is None else line.line.serial.model_dump(mode="json", exclude_defaults=True),
        "answers_any_unit_id": line.answers_any_unit_id,
        "units": [_unit_report(unit) for unit in line.units],
        "garbled_unit_ids": list(line.garbled),
    }


def _unit_report(unit: Identity) -> dict[str, Any]:
    return {
        "unit_id": unit.unit_id,
        "certainty": unit.certainty.value,
        "is_garbled": unit.is_garbled,
        "profiles": [profile.id for profile in unit.profiles],
        "candidates": [_candidate_report(candidate) for candidate in unit.ranked],
        "sunspec": [
            {
                "profile": profile.id,
                "manufacturer": device.manufacturer,
                "model": device.model,
                "serial": device.serial,
                "version": device.version,
                "models": [model.id for model in device.models],
                "points": len(profile.points),
            }
            for device, profile in unit.sunspec
        ],
    }


def _candidate_report(candidate: Candidate) -> dict[str, Any]:
    return {
        "profile": candidate.profile.id,
        "score": round(candidate.score, 2),
        "points_answered": candidate.answered,
        "points_asked": candidate.asked,
        "evidence": [item._asdict() | {"verdict": item.verdict.value} for item in candidate.evidence],
    }
