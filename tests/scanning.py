"""Run a scan the way the command does, on simulated lines, in the time of a test."""

import asyncio
from collections.abc import Sequence

from edge_agent.commissioning.scan import Scanner, ScanResult
from edge_agent.commissioning.search_order import line_settings
from protocol.library import load_library
from protocol.line_config import Parity

TIMEOUT_S = 0.15


def make_scanner(*, unit_ids: Sequence[int] | None = None, said: list[str] | None = None) -> Scanner:
    """Make a scanner for the whole library."""
    say = (lambda _: None) if said is None else said.append
    return Scanner(list(load_library().values()), unit_ids=unit_ids, timeout_s=TIMEOUT_S, say=say)


def scan_line(
    path: str, *, baud: int | None = 115_200, unit_ids: Sequence[int] | None = (1, 2), said: list[str] | None = None
) -> ScanResult:
    """Scan a serial line without parity, which a pseudo-terminal cannot do."""
    settings = line_settings(path, load_library().values(), baud=baud, parity=Parity.NONE, stop_bits=1)
    return asyncio.run(make_scanner(unit_ids=unit_ids, said=said).scan_serial(settings))


def scan_port(port: int, *, unit_ids: Sequence[int] | None = (1, 2), said: list[str] | None = None) -> ScanResult:
    """Scan what listens on a port of this machine."""
    return asyncio.run(make_scanner(unit_ids=unit_ids, said=said).scan_hosts(["127.0.0.1"], port))
