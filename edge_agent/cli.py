"""`meterhaul edge`: run the agent, check its settings, ask one meter, look into the buffer."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_agent.errors import AgentError, BusUnreachable
from edge_agent.settings import DEFAULT_PATH, Settings, load_settings

_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 78 for a fault in a file or setting, 1 for any other."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace, Settings], int] = arguments.command
    try:
        return command(arguments, load_settings(arguments.config))
    except AgentError as error:
        print(f"meterhaul edge: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="meterhaul edge", description="The agent on a site controller.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, command, help_text in (
        ("run", _run, "poll the meters, store their scans, deliver them to the hub"),
        ("check", _check, "check settings and site configuration, and show what would be polled"),
        ("read", _read, "ask one meter once, and show values and registers"),
        ("buffer", _buffer, "show what the buffer holds, also while the agent runs"),
    ):
        sub = commands.add_parser(name, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}.")
        sub.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="agent.toml [%(default)s]")
        sub.set_defaults(command=command)
        if name == "read":
            sub.add_argument("meter", metavar="METER", help="id of the meter in the site configuration")
        if name != "run":
            sub.add_argument("--json", action="store_true", help="print JSON for scripts")
    return parser


def _run(_: argparse.Namespace, settings: Settings) -> int:
    from edge_agent.app import run_agent  # noqa: PLC0415 - the other commands do without MQTT and SQLite

    return run_agent(settings)


def _check(arguments: argparse.Namespace, settings: Settings) -> int:
    from edge_agent.reports import plan_report, plan_text  # noqa: PLC0415 - `run` does without it
    from edge_agent.settings import read_password  # noqa: PLC0415
    from edge_agent.site import load_site  # noqa: PLC0415

    plan = load_site(settings.site)
    read_password(settings)
    print(json.dumps(plan_report(settings, plan)) if arguments.json else plan_text(settings, plan))
    return 0


def _read(arguments: argparse.Namespace, settings: Settings) -> int:
    from edge_agent.logs import configure_logging  # noqa: PLC0415 - `run` does without the rest
    from edge_agent.meter_reader import visit_once  # noqa: PLC0415
    from edge_agent.reports import visit_report, visit_text  # noqa: PLC0415
    from edge_agent.site import find_meter, load_site  # noqa: PLC0415

    configure_logging(settings.log)
    bus, meter = find_meter(load_site(settings.site), arguments.meter)
    visit = asyncio.run(visit_once(bus, meter))
    if visit.silence is not None and all(answer.fault is not None for answer in visit.answers):
        raise AgentError(f"meter {arguments.meter!r} does not answer: {visit.silence}; {_advice(visit.silence)}")
    print(json.dumps(visit_report(meter, visit)) if arguments.json else visit_text(meter, visit))
    return 0 if any(value is not None for value in visit.scan.values) else 1


def _advice(silence: AgentError) -> str:
    if isinstance(silence, BusUnreachable):
        return "check address and port in the site configuration, the cable, and that the device is on"
    return "check that the meter is on, its unit id, and behind a gateway the wiring, baud rate and parity"


def _buffer(arguments: argparse.Namespace, settings: Settings) -> int:
    from edge_agent.buffer_inspect import inspect_buffer  # noqa: PLC0415 - the other commands do without SQLite
    from edge_agent.reports import buffer_report, buffer_text  # noqa: PLC0415

    report = inspect_buffer(settings.buffer_path)
    print(json.dumps(buffer_report(report)) if arguments.json else buffer_text(report))
    return 0
