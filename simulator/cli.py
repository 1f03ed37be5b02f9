"""`meterhaul simulate`: meters that do not exist, on Modbus addresses that do."""

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.errors import SimulatorError, SiteDescriptionError

if TYPE_CHECKING:
    from simulator.faults import ScheduledFault
    from simulator.ledger import Ledger

_END_CHECK_S = 0.2
_SITES_MAX = 100_000
_EXAMPLE = "meter=heater,kind=dead,after=10,for=5"


def main(argv: Sequence[str]) -> int:
    """Run `meterhaul simulate` and return its exit code."""
    options = _parser().parse_args(argv)
    run = _run_fleet if options.command == "fleet" else _run_meters
    try:
        return run(options)
    except SimulatorError as error:
        print(f"meterhaul simulate: {error}", file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="meterhaul simulate", description="Simulated meters.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_meters(commands)
    _add_fleet(commands)
    return parser


def _add_meters(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
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


def _add_fleet(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    fleet = commands.add_parser(
        "fleet",
        help="many sites in one process, for an agent that polls them all",
        description="Serve sites on addresses of 127.0.0.0/8 until Ctrl-C, each with meters behind one port.",
    )
    fleet.add_argument("--sites", type=_count, default=1_000, help="how many (default: 1000)")
    fleet.add_argument("--meters", type=_count, default=6, help="of each site (default: 6)")
    fleet.add_argument("--profile", default="eastron-sdm630", help="of all meters (default: eastron-sdm630)")
    fleet.add_argument("--points", type=_points, default=20, help="of each meter, at most (default: 20)")
    fleet.add_argument("--period", type=_positive, default=1_800, help="seconds between polls, for the configuration")
    fleet.add_argument("--ledger", type=Path, help="append what is served to this file; without, nothing is noted")
    fleet.add_argument("--write-config", type=Path, metavar="FILE", help="write the agent's site configuration (.json)")
    fleet.add_argument(
        "--first-address", type=_address, default="127.16.0.1", help="of the first site (default: 127.16.0.1)"
    )
    fleet.add_argument("--port", type=_listening_port, default=15_020, help="of all sites (default: 15020)")
    fleet.add_argument(
        "--port-per-site", action="store_true", help="all on 127.0.0.1, on ports from --port on, instead of addresses"
    )
    fleet.add_argument("--dead", type=_count, default=0, help="so many sites, the last ones, never answer (default: 0)")
    fleet.add_argument(
        "--latency", type=_positive, default=0, metavar="SECONDS", help="that every answer takes (default: none)"
    )
    fleet.add_argument("--seed", type=int, default=1, help="of the loads (default: 1)")
    fleet.add_argument("--seconds", type=_positive, help="end by itself after this time")
    fleet.add_argument("--json", action="store_true", help="say as JSON that all sites listen")


def _run_meters(options: argparse.Namespace) -> int:
    # Late, so that --help needs neither pydantic nor the profiles.
    from simulator.replay import AtEnd, Pace  # noqa: PLC0415
    from simulator.site import Playing, SimulatedSite, write_site_config  # noqa: PLC0415
    from simulator.site_description import load_site  # noqa: PLC0415

    done = _end_on_signals()
    description = load_site(options.site, [_parse_fault(text) for text in options.fault])
    playing = Playing(
        seed=options.seed,
        speed=options.speed,
        pace=Pace(options.step),
        at_end=AtEnd(options.at_end),
        period_s=options.period,
        port_base=options.port_base,
    )
    ledger = _open_ledger(options.ledger)
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


def _run_fleet(options: argparse.Namespace) -> int:
    from simulator.fleet import Fleet, FleetDescription  # noqa: PLC0415 - late, as above
    from simulator.site import write_site_config  # noqa: PLC0415

    done = _end_on_signals()
    description = FleetDescription(
        sites=options.sites,
        meters=options.meters,
        profile=options.profile,
        points=options.points,
        period_s=options.period,
        seed=options.seed,
        first_address=None if options.port_per_site else options.first_address,
        port=options.port,
        dead=options.dead,
        latency_s=options.latency,
    )
    ledger = _open_ledger(options.ledger)
    try:
        fleet = Fleet(description, ledger)
        fleet.start()
        try:
            if options.write_config is not None:
                write_site_config(fleet.site_config(), options.write_config)
            _print_fleet(fleet.describe(), as_json=options.json)
            done.wait(options.seconds)
        finally:
            fleet.stop()
    finally:
        ledger.close()
    return 0


def _end_on_signals() -> threading.Event:
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    return done


def _open_ledger(path: Path | None) -> "Ledger":
    from simulator.ledger import Ledger  # noqa: PLC0415 - late, as above

    try:
        return Ledger(path)
    except OSError as error:
        raise SiteDescriptionError(f"--ledger {path} cannot be written: {error.strerror}") from error


def _parse_fault(text: str) -> "ScheduledFault":
    from pydantic import ValidationError  # noqa: PLC0415 - late, as above

    from simulator.faults import parse_fault  # noqa: PLC0415
    from simulator.site_description import first_fault  # noqa: PLC0415

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
                f"{meter['meter']:<16} {meter['plays']:<16} {_where(meter)} unit {meter['unit_id']:<3} "
                f"{meter['points']:>3} points  {meter['profile']}",
                flush=True,
            )


def _where(meter: Mapping[str, str | int]) -> str:
    return str(meter["device"]) if "device" in meter else f"{meter['host']}:{meter['port']}"


def _print_fleet(fleet: Mapping[str, str | int | float], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"ready": True, **fleet}), flush=True)
    else:
        print(
            f"ready: {fleet['sites']} sites with {fleet['meters']} meters, {fleet['points']} points each, on "
            f"{fleet['first']} to {fleet['last']}  {fleet['profile']}",
            flush=True,
        )


def _address(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is not an IPv4 address") from error


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= _SITES_MAX:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to {_SITES_MAX}")
    return number


def _points(text: str) -> int:
    number = int(text)
    if not 2 <= number <= 125:
        raise argparse.ArgumentTypeError(f"{text} is not from 2 to 125")
    return number


def _listening_port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 0xFFFF:
        raise argparse.ArgumentTypeError(f"{text} is not a port from 1 to {0xFFFF}")
    return port


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
