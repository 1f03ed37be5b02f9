"""`meterhaul edge`: run the agent, and what a person on site asks and sees."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from edge_agent.errors import AgentError, BusUnreachable
from edge_agent.settings import DEFAULT_PATH, Settings, load_settings

_INTERRUPTED = 130

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 78 for a fault in a file or setting, 1 for any other."""
    arguments = _parser().parse_args(argv)
    command: Command = arguments.command
    try:
        return command(arguments)
    except AgentError as error:
        print(f"meterhaul edge: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough; Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="meterhaul edge", description="The agent on a site controller.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_scan(commands.add_parser, "scan", "find meters on a serial line or network, and say what they are")
    for name, command, help_text in (
        ("check", _check, "check settings and site configuration, and show what would be polled and sent"),
        ("read", _read, "ask one meter once, and show values and registers; also while the agent runs"),
        ("run", _run, "poll the meters, store their scans, deliver them to the hub"),
        ("status", _status, "show how the running agent does: meters, buses, buffer, uplink, clock, traffic"),
        ("buffer", _buffer, "show what the buffer holds, also while the agent runs"),
        ("export", _export, "write what the buffer holds as CSV, also while the agent runs"),
    ):
        sub = commands.add_parser(name, help=help_text, description=_sentence(help_text))
        sub.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="agent.toml [%(default)s]")
        sub.set_defaults(command=command)
        if name == "read":
            sub.add_argument("meter", metavar="METER", help="id of the meter in the site configuration")
        if name == "export":
            _add_export_arguments(sub)
        elif name != "run":
            sub.add_argument("--json", action="store_true", help="print JSON for scripts")
    return parser


def _add_scan(add_parser: Callable[..., argparse.ArgumentParser], name: str, help_text: str) -> None:
    sub = add_parser(name, help=help_text, description=f"{_sentence(help_text)} Nothing is ever written to them.")
    where = sub.add_mutually_exclusive_group(required=True)
    where.add_argument("--device", metavar="PATH", help="a serial port, best by its name under /dev/serial/by-id")
    where.add_argument("--host", metavar="HOST[:PORT]", help="a meter, router, gateway or serial server")
    where.add_argument("--range", metavar="NETWORK", help="all addresses of a network, such as 192.168.10.0/24")
    sub.add_argument("--port", type=int, default=502, metavar="N", help="TCP port [%(default)s]")
    sub.add_argument("--units", metavar="IDS", help="unit ids to call, such as 1-32,100 [the usual ones, then 1-32]")
    sub.add_argument("--baud", type=int, metavar="N", help="try this baud rate only")
    sub.add_argument("--parity", choices=("N", "E", "O"), help="try this parity only")
    sub.add_argument("--stop-bits", type=int, choices=(1, 2), help="try so many stop bits only")
    sub.add_argument("--timeout", type=float, metavar="S", help="seconds to wait for an answer [0.2, over TCP 1]")
    sub.add_argument("--write", type=Path, metavar="FILE", help="write what was found as a site configuration")
    sub.add_argument("--force", action="store_true", help="overwrite that file")
    sub.add_argument("--json", action="store_true", help="print JSON for scripts")
    sub.set_defaults(command=_scan)


def _add_export_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--from", dest="from_", metavar="TIME", help="from this instant on, such as 2026-03-01 (UTC)")
    sub.add_argument("--to", metavar="TIME", help="up to this instant, which is not included")
    sub.add_argument("--meter", metavar="METER", help="this meter only")
    sub.add_argument("--point", metavar="POINT", help="this point only, such as active_power_total")
    sub.add_argument("--out", type=Path, metavar="FILE", help="write to this file [standard output]")


def _sentence(help_text: str) -> str:
    return f"{help_text[0].upper()}{help_text[1:]}."


def _settings(arguments: argparse.Namespace) -> Settings:
    return load_settings(arguments.config)


# Each command imports what it needs: on a small controller the imports are most of its time.
# ruff: noqa: PLC0415


def _scan(arguments: argparse.Namespace) -> int:
    from edge_agent.commissioning.cli import scan

    return scan(arguments)


def _check(arguments: argparse.Namespace) -> int:
    from edge_agent.commissioning.ask_meter import plan_in_force
    from edge_agent.commissioning.plan_report import plan_report, plan_text
    from edge_agent.control.keys import load_keys
    from edge_agent.settings import read_password
    from edge_agent.site.compile import load_site

    settings = _settings(arguments)
    load_site(settings.site)
    read_password(settings)
    load_keys(settings.orders.keys)
    in_force = plan_in_force(settings)
    if arguments.json:
        print(json.dumps({**plan_report(settings, in_force.plan), "configuration": in_force.report()}))
    else:
        print(f"{plan_text(settings, in_force.plan)}\nin force: {in_force.source}")
    return 0


def _read(arguments: argparse.Namespace) -> int:
    from edge_agent.commissioning.ask_meter import ask_meter
    from edge_agent.commissioning.visit_report import visit_report, visit_text
    from edge_agent.logs import configure_logging

    settings = _settings(arguments)
    configure_logging(settings.log)
    answer = ask_meter(settings, arguments.meter)
    silence = answer.visit.silence
    if silence is not None and all(reply.fault is not None for reply in answer.answers):
        raise AgentError(f"meter {arguments.meter!r} does not answer: {silence}; {_advice(silence)}")
    print(json.dumps(visit_report(answer)) if arguments.json else visit_text(answer))
    return 0 if any(value is not None for value in answer.scan.values) else 1


def _run(arguments: argparse.Namespace) -> int:
    from edge_agent.app import run_agent

    return run_agent(_settings(arguments))


def _status(arguments: argparse.Namespace) -> int:
    from edge_agent.commissioning.status_report import status_text
    from edge_agent.local.client import NotRunning, ask_agent

    settings = _settings(arguments)
    try:
        status = ask_agent(settings.socket_path, ask="status")
    except NotRunning as error:
        _show_what_is_left(settings)
        raise AgentError(str(error)) from None
    print(json.dumps(status) if arguments.json else status_text(status, settings.controller_id))
    return 0


def _show_what_is_left(settings: Settings) -> None:
    """Show what the buffer tells of an agent that does not run."""
    from edge_agent.buffer.inspect import inspect_buffer
    from edge_agent.commissioning.buffer_report import buffer_text

    if settings.buffer_path.exists():
        print(buffer_text(inspect_buffer(settings.buffer_path), ()), file=sys.stderr)


def _buffer(arguments: argparse.Namespace) -> int:
    from edge_agent.buffer.inspect import count_gaps, inspect_buffer
    from edge_agent.commissioning.buffer_report import buffer_report, buffer_text

    path = _settings(arguments).buffer_path
    report, gaps = inspect_buffer(path), count_gaps(path)
    print(json.dumps(buffer_report(report, gaps)) if arguments.json else buffer_text(report, gaps))
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from edge_agent.commissioning.export import Wanted, export, parse_instant

    wanted = Wanted(
        from_ms=None if arguments.from_ is None else parse_instant(arguments.from_, "--from"),
        to_ms=None if arguments.to is None else parse_instant(arguments.to, "--to"),
        meter=arguments.meter,
        point=arguments.point,
    )
    path = _settings(arguments).buffer_path
    with _output(arguments.out) as out:
        exported = export(path, wanted, out)
    for remark in exported.remarks():
        print(remark, file=sys.stderr)
    if arguments.out is not None:
        print(f"wrote {exported.readings:,} readings to {arguments.out}", file=sys.stderr)
    return 0


@contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    try:
        with path.open("w", encoding="utf-8", newline="") as out:
            yield out
    except OSError as error:
        raise AgentError(f"{path} cannot be written ({error.strerror}); name another file with --out") from None


def _advice(silence: AgentError) -> str:
    if isinstance(silence, BusUnreachable):
        return "check address and port in the site configuration, the cable, and that the device is on"
    return "check that the meter is on, its unit id, and behind a gateway the wiring, baud rate and parity"
