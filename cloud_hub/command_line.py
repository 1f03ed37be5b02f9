"""What the commands of several slices share: how they speak, and how they reach the database."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from cloud_hub.settings import HubSettings
from cloud_hub.tenancy.roles import Role

if TYPE_CHECKING:  # a command loads what it needs, when it runs
    from sqlalchemy import Engine

WHO = "cli"
"""Whom the audit trail names."""

TOLD = 20
"""Refused lines, meters or points that are printed; --json has more."""


def say(text: str, *, is_error: bool = False) -> None:
    """Print a line for people, or a document for programs."""
    print(text, file=sys.stderr if is_error else sys.stdout)


def add_command(commands: Any, name: str, run: object, text: str) -> argparse.ArgumentParser:  # noqa: ANN401 - argparse keeps the type private
    """Add a command that `run` carries out."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def open_engine(settings: HubSettings, application_name: str) -> "Engine":
    """Make an engine on a database that this release can use.

    Raises: NotMigrated, DatabaseUnreachable, DatabaseRefused, SettingsError.
    """
    from cloud_hub import db  # noqa: PLC0415

    engine = db.create_engine(
        settings.database_url.get_secret_value(), application_name=application_name, role=Role.WORK
    )
    db.check_migrated(engine)
    return engine
