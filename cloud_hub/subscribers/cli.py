"""`meterhaul hub sparkplug`: the live tree in Sparkplug B."""

import argparse
from typing import Any

from cloud_hub.command_line import open_engine
from cloud_hub.settings import HubSettings


def add_commands(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type private
    """Add the commands of this slice to those of `meterhaul hub`."""
    text = "say the live tree in Sparkplug B too, until it is stopped"
    sparkplug = commands.add_parser("sparkplug", help=text, description=f"{text[0].upper()}{text[1:]}.")
    sparkplug.set_defaults(run=_sparkplug)
    sparkplug.add_argument(
        "--organisation", action="append", default=[], metavar="SLUG", help="only this one; may be repeated"
    )


def _sparkplug(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from cloud_hub.process import stop_on_signals  # noqa: PLC0415 - lazy, as all below
    from cloud_hub.subscribers.sparkplug.process import SparkplugProcess  # noqa: PLC0415

    stopping = stop_on_signals()
    address = settings.broker
    engine = open_engine(settings, "meterhaul-sparkplug")
    SparkplugProcess(engine, address, stopping, frozenset(arguments.organisation)).run()
    engine.dispose()
    return 0
