"""`meterhaul hub archive`: what is kept as Parquet files after its time."""

import argparse
import json
import sys
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cloud_hub.command_line import TOLD, add_command, open_engine, say
from cloud_hub.errors import Invalid, SettingsError
from cloud_hub.settings import ARCHIVE_URL, HubSettings

if TYPE_CHECKING:  # a command loads what it needs, when it runs
    from cloud_hub.transfer.archive_store import ArchiveStore, Part


def add_archive(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type private
    """Add the command."""
    archive = commands.add_parser("archive", help="what is kept as Parquet files after its time")
    deeds = archive.add_subparsers(dest="deed", required=True, metavar="<deed>")
    listing = add_command(deeds, "list", _archive_list, "show what the archive holds")
    write = add_command(deeds, "write", _archive_write, "archive a month now; nothing is dropped")
    read = add_command(deeds, "read", _archive_read, "print what the archive holds as CSV")
    restore = add_command(deeds, "restore", _archive_restore, "put archived rows back into the database")
    write.add_argument("kind", choices=["readings", "ledger", "audit"])
    write.add_argument("--month", required=True, help="such as 2026-01")
    write.add_argument("--organisation", default="main", help="whose (default: %(default)s)")
    for parser in (listing, read, restore):
        parser.add_argument("--kind", help="only this kind, such as readings, ledger_days or audit_events")
        parser.add_argument("--organisation", help="only this organisation's")
        parser.add_argument("--from-month", help="such as 2026-01")
        parser.add_argument("--to-month", help="the last one, itself included")
    for parser in (listing, write, read, restore):
        parser.add_argument("--url", help=f"where the archive is (default: {ARCHIVE_URL})")


def _archive_list(arguments: argparse.Namespace, settings: HubSettings) -> int:
    parts = _parts(_store(arguments, settings), arguments)
    if arguments.json:
        say(json.dumps([asdict(part) | {"path": part.path} for part in parts], default=str))
        return 0
    for part in parts:
        say(f"{part.month:%Y-%m}  {part.organisation:<16}  {part.kind:<18}  {part.size:>13,} B  {part.name}")
    if not parts:
        say("The archive holds nothing of that.")
    return 0


def _archive_write(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from sqlalchemy import select  # noqa: PLC0415
    from sqlalchemy.orm import Session  # noqa: PLC0415

    from cloud_hub.errors import NotFound  # noqa: PLC0415
    from cloud_hub.organisations.models import Organisation  # noqa: PLC0415
    from cloud_hub.transfer.archive import ParquetArchive  # noqa: PLC0415

    first = _month(arguments.month, "--month")
    engine = open_engine(settings, "meterhaul-archive")
    with Session(engine) as session:
        query = select(Organisation.id).where(Organisation.slug == arguments.organisation)
        organisation_id = session.scalars(query).one_or_none()
    if organisation_id is None:
        raise NotFound(f"there is no organisation {arguments.organisation!r}")
    archive = ParquetArchive(engine, _url(arguments, settings))
    parts = archive.write(arguments.kind, organisation_id, first, (first + timedelta(days=32)).replace(day=1))
    engine.dispose()
    if arguments.json:
        say(json.dumps([asdict(part) | {"path": part.path} for part in parts], default=str))
    for part in parts if not arguments.json else ():
        say(f"{part.path}: {part.size:,} bytes, read back and found whole.")
    if not parts and not arguments.json:
        say(f"There is nothing of {arguments.kind} in {arguments.month} to archive.")
    return 0


def _archive_read(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from cloud_hub.transfer.archive_print import print_parts  # noqa: PLC0415

    store = _store(arguments, settings)
    print_parts(store, _parts(store, arguments), sys.stdout, as_json=arguments.json)
    return 0


def _archive_restore(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from cloud_hub.transfer.archive import restore  # noqa: PLC0415

    store = _store(arguments, settings)
    parts = _parts(store, arguments)
    engine = open_engine(settings, "meterhaul-archive")
    done = restore(engine, store, parts)
    engine.dispose()
    told = {
        "files": len(parts),
        "rows": done.rows,
        "restored": done.restored,
        "sealed": done.sealed,
        "unknown": sorted(done.unknown),
    }
    if arguments.json:
        say(json.dumps(told))
    else:
        say(f"{done.restored:,} of {done.rows:,} rows of {len(parts)} files put back; the others are there.")
        if done.sealed:
            say(f"{done.sealed:,} events of the audit trail stay in the archive: read them there, with 'archive read'.")
        say("What an organisation does not keep as long, `work` archives and drops again.")
    if done.unknown and not arguments.json:
        some = ", ".join(sorted(done.unknown)[:TOLD])
        say(f"Left in the archive: {len(done.unknown)} points that are not registered here ({some}).", is_error=True)
    return 1 if done.unknown else 0


def _parts(store: "ArchiveStore", arguments: argparse.Namespace) -> "list[Part]":
    first = None if arguments.from_month is None else _month(arguments.from_month, "--from-month")
    last = None if arguments.to_month is None else _month(arguments.to_month, "--to-month")
    return store.list_parts(arguments.kind, arguments.organisation, first, last)


def _store(arguments: argparse.Namespace, settings: HubSettings) -> "ArchiveStore":
    from cloud_hub.transfer.archive_store import ArchiveStore  # noqa: PLC0415

    return ArchiveStore(_url(arguments, settings))


def _url(arguments: argparse.Namespace, settings: HubSettings) -> str:
    url: str | None = arguments.url or settings.archive_url
    if not url:
        raise SettingsError(f"{ARCHIVE_URL} is not set: set it to a place such as file:///srv/archive, or say --url")
    return url


def _month(text: str, option: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007 - a month has no zone
    except ValueError as error:
        raise Invalid(f"{option} is {text!r}: write a month such as 2026-01") from error
