"""`meterhaul hub stream`: the process that keeps streams of events and live values open."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cloud_hub.settings import HubSettings
from cloud_hub.tenancy.roles import Role

if TYPE_CHECKING:  # a command loads what it needs, when it runs
    from flask import Flask
    from sqlalchemy import Engine

    MakeApp = Callable[[HubSettings, Engine], Flask]


def add_commands(commands: Any, make_app: "MakeApp") -> None:  # noqa: ANN401 - argparse keeps the type private
    """Add the command of this slice; `make_app` builds the web application, which says who may come in."""

    def run(arguments: argparse.Namespace, settings: HubSettings) -> int:
        return _stream(arguments, settings, make_app)

    text = "keep streams of events and live values open"
    parser = commands.add_parser("stream", help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(run=run)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8001, help="port to listen on (default: %(default)s)")


def _stream(arguments: argparse.Namespace, settings: HubSettings, make_app: "MakeApp") -> int:
    from cloud_hub import db  # noqa: PLC0415
    from cloud_hub.stream.server import Streams, listen, run  # noqa: PLC0415

    engine = db.create_engine(
        settings.database_url.get_secret_value(), application_name="meterhaul-stream", role=Role.WEB
    )
    db.check_migrated(engine)
    listener = listen(arguments.host, arguments.port)
    run(Streams(make_app(settings, engine), engine), listener)
    engine.dispose()
    return 0
