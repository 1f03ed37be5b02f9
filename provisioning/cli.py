"""`meterhaul provision`: what gives a controller and a broker their identity and configuration."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from protocol.errors import InvalidIdentifier
from protocol.identifiers import parse_slug
from provisioning.broker_files import HUB_USER, BrokerFiles

_EXIT_CONFIGURATION = 78


def main(argv: Sequence[str]) -> int:
    """Run `meterhaul provision` and return its exit code."""
    options = _parser().parse_args(argv)
    try:
        return _broker(options)
    except InvalidIdentifier as error:
        print(f"meterhaul provision broker: --controller {error}", file=sys.stderr)
    except OSError as error:
        print(f"meterhaul provision broker: {error.filename}: {error.strerror}", file=sys.stderr)
    return _EXIT_CONFIGURATION


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="meterhaul provision", description="Files for controllers and brokers.")
    commands = parser.add_subparsers(dest="command", required=True)
    broker = commands.add_parser(
        "broker",
        help="write the files of a Mosquitto broker",
        description="Write Mosquitto's configuration, rights and logins; run again to add controllers, then SIGHUP it.",
    )
    broker.add_argument("directory", type=Path, help="where the files shall be; logins in it are kept")
    broker.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    broker.add_argument("--port", type=int, default=1883, help="the controllers' port (default: 1883)")
    broker.add_argument("--hub-port", type=int, default=1884, help="the port of the hub's processes (default: 1884)")
    broker.add_argument(
        "--subscriber-port", type=int, default=1885, help="the port of those who read live topics (default: 1885)"
    )
    broker.add_argument("--user", help="account that Mosquitto takes when it is started as root")
    broker.add_argument("--controller", action="append", default=[], metavar="ID", help="give it a login; repeatable")
    broker.add_argument("--json", action="store_true", help="print what was written as JSON")
    return parser


def _broker(options: argparse.Namespace) -> int:
    controllers = [parse_slug(controller) for controller in options.controller]
    files = BrokerFiles(
        options.directory,
        host=options.host,
        port=options.port,
        hub_port=options.hub_port,
        subscriber_port=options.subscriber_port,
        run_as=options.user,
    )
    for controller in controllers:
        files.login_of(controller)
    files.write()
    # Passwords are in the file, not on the screen: terminals and logs are kept longer than one thinks.
    written = {
        "configuration": str(files.configuration),
        "logins": str(files.logins_file),
        "controllers": controllers,
        "hub": HUB_USER,
    }
    if options.json:
        print(json.dumps(written))
    else:
        print(f"Start it with: mosquitto -c {files.configuration}\nLogins are in {files.logins_file}")
    return 0
