"""`meterhaul hub`: the hub's processes and what an operator does to its database."""

import argparse
import getpass
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloud_hub.audit.cli import add_commands as add_audit_commands
from cloud_hub.configuration.cli import add_commands as add_configuration_commands
from cloud_hub.errors import HubError, Invalid
from cloud_hub.ledger.cli import add_commands as add_ledger_commands
from cloud_hub.mail.cli import add_commands as add_mail_commands
from cloud_hub.organisations.cli import add_commands as add_organisations_commands
from cloud_hub.process import configure_logging
from cloud_hub.settings import BROKER_URL, DATABASE_URL, SECRET_KEY_FILE, HubSettings, load_settings
from cloud_hub.stream.cli import add_commands as add_stream_commands
from cloud_hub.subscribers.cli import add_commands as add_subscriber_commands
from cloud_hub.tenancy.roles import Role
from cloud_hub.tokens.cli import add_commands as add_token_commands
from cloud_hub.transfer.cli import add_commands as add_transfer_commands
from cloud_hub.users.cli import add_commands as add_account_commands

if TYPE_CHECKING:  # a command loads what it needs, when it runs
    from flask import Flask
    from sqlalchemy import Engine

    from cloud_hub.ingest.quarantine import QuarantineEntry

_EPILOG = f"Settings come from the environment: {DATABASE_URL}, {BROKER_URL}, {SECRET_KEY_FILE}."


def main(argv: list[str]) -> int:
    """Run one command of the hub and return its exit code: 78 when a setting is to blame."""
    arguments = _parser().parse_args(argv)
    configure_logging()
    try:
        return int(arguments.run(arguments, load_settings()))
    except HubError as error:
        print(f"meterhaul hub {arguments.command}: {error}", file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="meterhaul hub", description="The hub: web, ingest, work.", epilog=_EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="<command>")

    _add(commands, "init", _init, "make or upgrade the database's tables")
    _add(commands, "ingest", _ingest, "take what agents send into the database; run as many as needed")
    _add(commands, "work", _work, "do what is due by the clock")

    serve = _add(commands, "serve", _serve, "serve the pages and the API")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    serve.add_argument(
        "--create-key", action="store_true", help=f"make the file of {SECRET_KEY_FILE} when it is missing"
    )

    admin = _add(commands, "create-admin", _create_admin, "add a user who may do everything")
    admin.add_argument("email")
    admin.add_argument("--password-stdin", action="store_true", help="read the password from standard input")

    _add(commands, "openapi", _openapi, "print the API's OpenAPI 3.1 document")

    assign = _add(commands, "assign", _assign, "say which sites the meters of a controller belong to")
    assign.add_argument("controller", help="the controller that polls the meters")
    assign.add_argument(
        "file",
        help="CSV with the columns meter, site and, as wanted, organisation (left out: main) and, to add sites, site_name "
        "and time_zone; - reads standard input",
    )
    assign.add_argument("--json", action="store_true", help="print one JSON document")

    quarantine = commands.add_parser("quarantine", help="batches that could not be stored")
    deeds = quarantine.add_subparsers(dest="deed", required=True, metavar="<deed>")
    listing = _add(deeds, "list", _list_quarantine, "show what is in quarantine")
    listing.add_argument("--all", action="store_true", help="show also what has gone through since")
    listing.add_argument("--json", action="store_true", help="print one JSON document")
    replay = _add(deeds, "replay", _replay_quarantine, "put batches through again")
    replay.add_argument("ids", nargs="*", type=int, metavar="id", help="left out: all that are there")
    replay.add_argument("--json", action="store_true", help="print one JSON document")

    add_ledger_commands(commands)
    add_mail_commands(commands)
    add_organisations_commands(commands)
    add_configuration_commands(commands)
    add_transfer_commands(commands)
    add_account_commands(commands)
    add_subscriber_commands(commands)
    add_audit_commands(commands)
    add_token_commands(commands)
    add_stream_commands(commands, _web_app)
    return parser


def _add(commands: Any, name: str, run: object, text: str) -> argparse.ArgumentParser:  # noqa: ANN401 - argparse keeps the type private
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(run=run)
    return parser


def _init(_arguments: argparse.Namespace, settings: HubSettings) -> int:
    from datetime import UTC, datetime  # noqa: PLC0415 - lazy, as all below

    from cloud_hub import db  # noqa: PLC0415
    from cloud_hub.configuration.signing import prepare_signing_key  # noqa: PLC0415
    from cloud_hub.schema.upgrade import secure_again, upgrade  # noqa: PLC0415
    from cloud_hub.work.extensions import switch_on  # noqa: PLC0415
    from cloud_hub.work.partitions import make_partitions  # noqa: PLC0415

    url = settings.database_url.get_secret_value()
    upgrade(url)
    engine = db.create_engine(url, application_name="meterhaul-init")
    switch_on(engine, settings.database_extension)
    secure_again(engine)
    prepare_signing_key(engine, settings)
    make_partitions(engine, datetime.now(UTC))
    print(f"The database {db.describe(engine.url)} is at revision {db.head_revision()}.")
    engine.dispose()
    return 0


def _ingest(_arguments: argparse.Namespace, settings: HubSettings) -> int:
    from cloud_hub.ingest.broker import BrokerConnection  # noqa: PLC0415
    from cloud_hub.ingest.consumer import Consumer  # noqa: PLC0415
    from cloud_hub.process import stop_on_signals  # noqa: PLC0415
    from cloud_hub.subscribers.publisher import LivePublisher  # noqa: PLC0415

    stopping = stop_on_signals()
    connection = BrokerConnection(settings.broker)
    engine = _migrated_engine(settings, "meterhaul-ingest", Role.INGEST)
    if settings.has_live_topics:
        with LivePublisher(engine, settings.broker) as publisher:
            Consumer(engine, connection, stopping, publisher.note).run()
    else:
        Consumer(engine, connection, stopping).run()
    engine.dispose()
    return 0


def _work(_arguments: argparse.Namespace, settings: HubSettings) -> int:
    from cloud_hub.process import stop_on_signals  # noqa: PLC0415
    from cloud_hub.work import worker  # noqa: PLC0415
    from cloud_hub.work.accounts import account_duties  # noqa: PLC0415
    from cloud_hub.work.orders import order_duties  # noqa: PLC0415
    from cloud_hub.work.people import people_duties  # noqa: PLC0415
    from cloud_hub.work.subscribers import subscriber_duties  # noqa: PLC0415
    from cloud_hub.work.webhooks import event_duties  # noqa: PLC0415

    stopping = stop_on_signals()
    engine = _migrated_engine(settings, "meterhaul-work")
    own = [*account_duties(settings), *order_duties(settings), *subscriber_duties(settings), *event_duties(settings)]
    own += people_duties(settings)
    worker.run(engine, stopping, [*worker.duties(settings.archive_url), *own])
    engine.dispose()
    return 0


def _serve(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from cloud_hub.serve import serve  # noqa: PLC0415

    serve(settings, host=arguments.host, port=arguments.port, create_key=arguments.create_key)
    return 0


def _openapi(_arguments: argparse.Namespace, settings: HubSettings) -> int:
    from cloud_hub import db  # noqa: PLC0415
    from cloud_hub.app import create_app  # noqa: PLC0415
    from cloud_hub.openapi.api import document_of  # noqa: PLC0415

    app = create_app(b"", db.create_engine(settings.database_url.get_secret_value()))
    print(json.dumps(document_of(app), indent=2))
    return 0


def _web_app(settings: HubSettings, engine: "Engine") -> "Flask":
    from cloud_hub.serve import make_app  # noqa: PLC0415

    return make_app(settings, engine)


def _create_admin(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from cloud_hub import db  # noqa: PLC0415
    from cloud_hub.users.service import create_admin  # noqa: PLC0415

    engine = _migrated_engine(settings, "meterhaul-create-admin")
    password = sys.stdin.readline().rstrip("\n") if arguments.password_stdin else _ask_password()
    with db.session_scope(db.create_sessions(engine)) as session:
        user = create_admin(session, arguments.email, password)
        print(f"User {user.email} may log in now.")
    engine.dispose()
    return 0


def _ask_password() -> str:
    return getpass.getpass("Password: ")


def _assign(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from cloud_hub import db  # noqa: PLC0415
    from cloud_hub.ledger.rebuild import rebuild_meters  # noqa: PLC0415
    from cloud_hub.registry.assignment import assign_meters, parse_assignments  # noqa: PLC0415
    from cloud_hub.registry.queries import map_meter_zones  # noqa: PLC0415

    assignments = parse_assignments(_read_lines(arguments.file))
    engine = _migrated_engine(settings, "meterhaul-assign")
    with db.session_scope(db.create_sessions(engine)) as session:
        before = map_meter_zones(session)
        assigned = assign_meters(session, arguments.controller, assignments)
        after = map_meter_zones(session)
        # A local day of another zone is another day.
        rebuild_meters(session, [meter_id for meter_id, zone in after.items() if before.get(meter_id) != zone])
    engine.dispose()
    if arguments.json:
        print(json.dumps(asdict(assigned)))
    else:
        print(f"{assigned.meters} meters belong to the sites named; {assigned.moved} of them did not before.")
    return 0


def _read_lines(file: str) -> list[str]:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{file} is not UTF-8 text: save it as CSV in UTF-8") from error
    return text.splitlines(keepends=True)


def _list_quarantine(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from sqlalchemy.orm import Session  # noqa: PLC0415

    from cloud_hub.ingest.quarantine import list_quarantined  # noqa: PLC0415

    engine = _migrated_engine(settings, "meterhaul-quarantine")
    with Session(engine) as session:
        entries = list_quarantined(session, include_replayed=arguments.all)
    engine.dispose()
    if arguments.json:
        print(json.dumps([asdict(entry) for entry in entries], default=str))
    else:
        _print_quarantine(entries)
    return 0


def _print_quarantine(entries: Sequence["QuarantineEntry"]) -> None:
    if not entries:
        print("The quarantine is empty.")
        return
    print(f"{'ID':>6}  {'RECEIVED (UTC)':<19}  {'CONTROLLER':<20}  {'NUMBERS':<17}  REASON")
    for entry in entries:
        numbers = "?" if entry.first_sequence is None else f"{entry.first_sequence}..{entry.last_sequence}"
        mark = " (gone through since)" if entry.replayed_at else ""
        print(
            f"{entry.id:>6}  {entry.received_at:%Y-%m-%d %H:%M:%S}  {entry.controller_id:<20}  {numbers:<17}  "
            f"{entry.reason}{mark}: {entry.detail}"
        )


def _replay_quarantine(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from cloud_hub.ingest.quarantine import replay  # noqa: PLC0415

    engine = _migrated_engine(settings, "meterhaul-quarantine")
    replayed = replay(engine, arguments.ids or None)
    engine.dispose()
    if arguments.json:
        print(json.dumps({"stored": replayed.stored, "kept": replayed.kept}))
    else:
        print(f"{replayed.stored} went through, {replayed.kept} stay in quarantine.")
    return 0


def _migrated_engine(settings: HubSettings, application_name: str, role: Role = Role.WORK) -> "Engine":
    """Make an engine on a database that this release can use, working as `role`.

    Raises: NotMigrated, DatabaseUnreachable, DatabaseRefused, SettingsError.
    """
    from cloud_hub import db  # noqa: PLC0415

    engine = db.create_engine(settings.database_url.get_secret_value(), application_name=application_name, role=role)
    db.check_migrated(engine)
    return engine
