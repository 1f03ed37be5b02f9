"""Collect what people at the hub need to understand a controller that they cannot visit. Nothing secret is in it."""

import asyncio
import os
import platform
import shutil
import sqlite3
import sys
import time
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edge_agent.control.commands import Deed, parse_arguments
from edge_agent.errors import AgentError
from edge_agent.logs import last_lines
from edge_agent.settings import Settings
from protocol.command_arguments import DiagnoseArguments
from protocol.control import Command, CommandReply, CommandState
from protocol.messages import Health

COMPRESSED_BYTES_MAX = 32 * 1024
_LIBRARIES = ("meterhaul", "paho-mqtt", "pymodbus", "pydantic", "protobuf", "structlog", "cryptography")
_MEMORY_FIGURES = frozenset({"MemTotal", "MemAvailable", "SwapTotal", "SwapFree"})
_OWN_FIGURES = frozenset({"VmRSS", "VmHWM", "Threads"})


def prepare_diagnose(command: Command, *, settings: Settings, health: Callable[[], Awaitable[Health]]) -> Deed:
    """Check that there are no arguments.

    Raises: OrderRefused.
    """
    parse_arguments(DiagnoseArguments, command)
    return partial(_diagnose, settings, health)


async def _diagnose(settings: Settings, health: Callable[[], Awaitable[Health]]) -> dict[str, Any]:
    found = {
        "versions": await asyncio.to_thread(_versions),
        "settings": settings.model_dump(mode="json"),
        "counters": await _counters(health),
        "system": await asyncio.to_thread(_system, settings.data_dir),
    }
    return await asyncio.to_thread(_bounded, found, last_lines())


async def _counters(health: Callable[[], Awaitable[Health]]) -> dict[str, Any]:
    try:
        return (await health()).model_dump(mode="json")
    except AgentError as error:
        # A disk that answers nothing is what people will want to read about.
        return {"error": str(error)}


def _versions() -> dict[str, str]:
    found = {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _system(data_dir: Path) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "uptime_s": round(time.clock_gettime(time.CLOCK_BOOTTIME)),
        "processors": os.cpu_count(),
        "memory_kib": _proc_figures(Path("/proc/meminfo"), _MEMORY_FIGURES),
        "process_kib": _proc_figures(Path("/proc/self/status"), _OWN_FIGURES),
        "python_executable": sys.executable,
        "temperatures_c": _temperatures(),
    }
    with suppress(OSError):
        figures["load"] = [round(load, 2) for load in os.getloadavg()]
    with suppress(OSError):
        disk = shutil.disk_usage(data_dir)
        figures["disk_bytes"] = {"total": disk.total, "free": disk.free}
    return figures


def _proc_figures(path: Path, wanted: frozenset[str]) -> dict[str, int]:
    """Read lines like `VmRSS:  48212 kB`."""
    figures: dict[str, int] = {}
    with suppress(OSError, ValueError):
        for line in path.read_text(encoding="ascii", errors="replace").splitlines():
            name, _, rest = line.partition(":")
            if name in wanted:
                figures[name] = int(rest.split()[0])
    return figures


def _temperatures() -> list[float]:
    """Return what the thermal zones show, in degrees Celsius; nothing where there are none."""
    found = []
    for zone in sorted(Path("/sys/class/thermal").glob("thermal_zone*/temp")):
        with suppress(OSError, ValueError):
            found.append(int(zone.read_text(encoding="ascii")) / 1000)
    return found


def _bounded(found: dict[str, Any], lines: list[str]) -> dict[str, Any]:
    """Add as many of the newest log lines as the answer has room for; give up counters last."""
    while True:
        answer = {**found, "log": lines}
        if _size(answer) <= COMPRESSED_BYTES_MAX:
            return answer
        if lines:
            lines = lines[-(len(lines) // 2) :] if len(lines) > 1 else []
        else:
            return {**found, "counters": {"error": "left out: too large to send; see health"}, "log": []}


def _size(answer: dict[str, Any]) -> int:
    body = CommandReply(id="x" * 64, state=CommandState.DONE, at_ms=0, result=answer).model_dump_json()
    return len(zlib.compress(body.encode(), 9))
