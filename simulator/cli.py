"""`meterhaul simulate`: meters that do not exist, on Modbus addresses that do."""

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.errors import SimulatorError, SiteDescriptionError

if TYPE_CHECKING:
    from simulator.faults import ScheduledFault

_END_CHECK_S = 0.2
_EXAMPLE = "meter=heater,kind=dead,after=10,for=5"


def main(argv: Sequence[str]) -> int:
    """Run `meterhaul simulate` and return its exit code."""
    options = _parser().parse_args(argv)
    try:
        return _run_meters(options)
    except SimulatorError as error:
        print(f"meterhaul simulate: {error}", file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="meterhaul simulate", description="Simulated meters.")
    commands = parser.add_subparsers(dest="command", required=True)
    meters = commands.add_parser(
        "meters",
        help="real Modbus TCP servers that play loads or replay real data",
        description="Serve meters on 127.0.0.1 until Ctrl-C, and note every value served in a ledger.",
    )
    meters.add_argument("--site", default="demo", help="'demo', 'replay', or a TOML file (default: demo)")
    meters.add_argument("--ledger", type=Path, help="append what is served to this file; a run goes on where it ends")
    meters.add_argument(
        "--write-config", type=Path, metavar="FILE", help="write the agent's site configuration (.json)"
    )
    meters.add_argument("--port-base", type=_port, default=0, help="first port; 0 takes free ones (default: 0)")
    meters.add_argument("--seed", type=int, default=1, help="of the loads (default: 1)")
    meters.add_argument("--period", type=_positive, default=60, help="seconds between polls, for the configuration")
    meters.add_argument("--speed", type=_positive, default=1, help="how fast the meters' time runs (default: 1)")
    meters.add_argument(
        "--step", choices=["time", "frame"], default="time", help="replay: a row per minute, or per scan"
    )
    meters.add_argument("--at-end", choices=["loop", "stop"], default="loop", help="replay: what follows the last row")
    meters.add_argument("--seconds", type=_positive, help="end by itself after this time")
    meters.add_argument(
        "--fault", action="append", default=[], metavar="SCRIPT", help=f"such as {_EXAMPLE}; repeatable"
    )
    meters.add_argument("--json", action="store_true", help="describe the meters as JSON, one object per line")
    return parser


def _run_meters(options: argparse.Namespace) -> int:
    # Late, so that --help needs neither pydantic nor the profiles.
    from simulator.ledger import Ledger  # noqa: PLC0415
    from simulator.replay import AtEnd, Pace  # noqa: PLC0415
    from simulator.site import Playing, SimulatedSite, load_site, write_site_config  # noqa: PLC0415

    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    description = load_site(options.site, [_parse_fault(text) for text in options.fault])
    playing = Playing(
        seed=options.seed,
        speed=options.speed,
        pace=Pace(options.step),
        at_end=AtEnd(options.at_end),
        period_s=options.period,
        port_base=options.port_base,
    )
    try:
        ledger = Ledger(options.ledger)
    except OSError as error:
        raise SiteDescriptionError(f"--ledger {options.ledger} cannot be written: {error.strerror}") from error
    site = SimulatedSite(description, playing, ledger, now_ms=time.time_ns() // 1_000_000)
    site.start()
    try:
        if options.write_config is not None:
            write_site_config(site.site_config(), options.write_config)
        _print_meters(site.describe(), as_json=options.json)
        deadline = time.monotonic() + options.seconds if options.seconds is not None else float("inf")
        while not site.has_ended and time.monotonic() < deadline and not done.is_set():
            done.wait(min(_END_CHECK_S, max(0.0, deadline - time.monotonic())))
    finally:
        site.stop()
        ledger.close()
    return 0


def _parse_fault(text: str) -> "ScheduledFault":
    from pydantic import ValidationError  # noqa: PLC0415 - late, as above

    from simulator.faults import parse_fault  # noqa: PLC0415
    from simulator.site import first_fault  # noqa: PLC0415

    try:
        return parse_fault(text)
    except ValidationError as error:
        raise SiteDescriptionError(f"--fault {text}: {first_fault(error)}; an example: {_EXAMPLE}") from error
    except ValueError as error:
        raise SiteDescriptionError(f"--fault {text}: {error}; an example: {_EXAMPLE}") from error


def _print_meters(meters: Sequence[dict[str, str | int]], *, as_json: bool) -> None:
    for meter in meters:
        if as_json:
            print(json.dumps(meter), flush=True)
        else:
            print(
                f"{meter['meter']:<16} {meter['plays']:<16} {meter['host']}:{meter['port']} unit {meter['unit_id']:<3} "
                f"{meter['points']:>3} points  {meter['profile']}",
                flush=True,
            )


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 0xFF00:
        raise argparse.ArgumentTypeError(f"{text} is not a port from 0 to {0xFF00}")
    return port


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number
