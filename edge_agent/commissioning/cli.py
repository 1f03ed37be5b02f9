"""`meterhaul edge scan`: for a technician with a laptop, before there are any settings."""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.commissioning.port_users import explain_port
from edge_agent.commissioning.scan import Scanner, ScanResult
from edge_agent.commissioning.scan_report import nothing_found, scan_report, scan_text
from edge_agent.commissioning.search_order import ids_text, line_settings, parse_host, parse_hosts, parse_unit_ids
from edge_agent.commissioning.site_file import draft_site, write_site
from edge_agent.errors import AgentError, BusUnreachable
from protocol.library import get_profile, profile_ids
from protocol.line_config import Parity

_SERIAL_TIMEOUT_S, _TCP_TIMEOUT_S = 0.2, 1.0


def scan(arguments: argparse.Namespace) -> int:
    """Find devices, say what they are, and write a configuration when asked to."""
    path: Path | None = arguments.write
    if path is not None and path.exists() and not arguments.force:
        raise AgentError(f"{path} is there already; name another file, or overwrite it with --force")
    if arguments.device is not None:
        arguments.device = str(Path(arguments.device).absolute())
    result = asyncio.run(_scan(arguments))
    if arguments.json:
        print(json.dumps(scan_report(result)))
    elif result.units:
        print(scan_text(result))
    if not result.units:
        units = arguments.units or f"{ids_text(range(1, 33))} and the usual ones"
        raise AgentError(nothing_found(result, is_serial=arguments.device is not None, units=units))
    if path is not None:
        draft = draft_site(result)
        write_site(draft, path, may_overwrite=arguments.force)
        left = len(draft.open_questions)
        _say(
            f"wrote {path}"
            + (f"; see the {left} lines 'To do' in it" if left > 1 else "; see 'To do' in it" if left else "")
        )
    return 0


async def _scan(arguments: argparse.Namespace) -> ScanResult:
    library = [get_profile(profile_id) for profile_id in profile_ids()]
    unit_ids = None if arguments.units is None else parse_unit_ids(arguments.units)
    timeout_s = arguments.timeout or (_SERIAL_TIMEOUT_S if arguments.device is not None else _TCP_TIMEOUT_S)
    scanner = Scanner(library, unit_ids=unit_ids, timeout_s=timeout_s, say=_say)
    if arguments.device is None:
        if arguments.host is None:
            return await scanner.scan_hosts(parse_hosts(arguments.range), arguments.port)
        host, port = parse_host(arguments.host, arguments.port)
        return await scanner.scan_hosts((host,), port)
    settings = line_settings(
        arguments.device,
        library,
        baud=arguments.baud,
        parity=Parity(arguments.parity) if arguments.parity else None,
        stop_bits=arguments.stop_bits,
    )
    with _port_faults(arguments.device):
        return await scanner.scan_serial(settings)


@contextmanager
def _port_faults(device: str) -> Iterator[None]:
    try:
        yield
    except BusUnreachable as error:
        raise explain_port(device, error) from None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
