"""`meterhaul hub import`: historical readings and registers from a CSV file."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cloud_hub.command_line import TOLD, WHO, add_command, open_engine, say
from cloud_hub.errors import Invalid
from cloud_hub.settings import HubSettings

if TYPE_CHECKING:  # a command loads what it needs, when it runs
    from cloud_hub.transfer.importing import Imported
    from cloud_hub.transfer.options import ImportOptions, ValueColumn


def add_import(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type private
    """Add the command."""
    parser = add_command(
        commands, "import", _import, "store historical readings and registers from a CSV file, all or nothing"
    )
    parser.add_argument("file", help="CSV whose first line names its columns; - reads standard input")
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--site", help="the site whose meters the file is about")
    whose.add_argument("--controller", help="the controller behind which the meters are")
    parser.add_argument(
        "--create-meters", action="store_true", help="make meters and points that are missing (behind import-SITE)"
    )
    parser.add_argument("--profile", help="profile of meters that are made (default: none)")
    parser.add_argument("--dry-run", action="store_true", help="tell what would be stored and refused, store nothing")
    parser.add_argument("--skip-rejected", action="store_true", help="store the rest when lines are refused")
    parser.add_argument("--meter", help="the one meter that the file is about, for a file without such a column")
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="ROLE=TITLE",
        help="the title of the column observed_at, received_at, meter, point, value, quality or unit; may be repeated",
    )
    parser.add_argument(
        "--point",
        action="append",
        default=[],
        metavar="TITLE=POINT[:UNIT]",
        help="a column that holds the readings of a point; may be repeated",
    )
    parser.add_argument("--unit", help="unit of numbers whose column names none (default: that of the point)")
    parser.add_argument("--time-zone", help="zone of stamps without an offset from UTC, such as Europe/Berlin")
    parser.add_argument("--time-format", help="as strptime takes it, such as %%d.%%m.%%Y %%H:%%M (default: ISO 8601)")
    parser.add_argument("--delimiter", default=",", help="between cells (default: %(default)s)")
    parser.add_argument("--decimal-comma", action="store_true", help="numbers are written as 1234,5")
    parser.add_argument(
        "--clock-tolerance-s",
        type=float,
        default=60.0,
        help="with received_at: a clock that is off by no more is not set right (default: %(default)s)",
    )


def _import(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from cloud_hub.transfer.csv_readings import parse_readings  # noqa: PLC0415 - lazy, as all below
    from cloud_hub.transfer.importing import import_readings  # noqa: PLC0415
    from cloud_hub.transfer.targets import IMPORTED, Target  # noqa: PLC0415

    target = Target(
        controller=arguments.controller,
        site=arguments.site,
        creates=arguments.create_meters,
        profile=_profile(arguments.profile) or IMPORTED,
    )
    options = _options(arguments)
    with _lines(arguments.file) as lines:
        plan = parse_readings(lines, options)
    engine = open_engine(settings, "meterhaul-import")
    imported = import_readings(
        engine,
        plan,
        target,
        who=WHO,
        source=arguments.file,
        skips_rejected=arguments.skip_rejected,
        is_dry_run=arguments.dry_run,
    )
    engine.dispose()
    if arguments.json:
        say(json.dumps(imported.to_json(), default=str))
    else:
        _print_imported(imported, is_dry_run=arguments.dry_run)
    return 1 if imported.rejected and not arguments.skip_rejected else 0


def _options(arguments: argparse.Namespace) -> "ImportOptions":
    from cloud_hub.transfer.options import ROLES, ImportOptions  # noqa: PLC0415

    titles = dict(_pair(given, "--column", "ROLE=TITLE") for given in arguments.column)
    unknown = titles.keys() - set(ROLES)
    if unknown:
        raise Invalid(f"--column {min(unknown)}=… names no role: choose one of {', '.join(ROLES)}")
    if len(arguments.delimiter) != 1:
        raise Invalid(f"--delimiter {arguments.delimiter!r} is not one character, such as ; or ,")
    return ImportOptions(
        meter=arguments.meter,
        titles=titles,
        value_columns=tuple(_value_column(given) for given in arguments.point),
        unit=arguments.unit,
        time_zone=_zone(arguments.time_zone),
        time_format=arguments.time_format,
        delimiter=arguments.delimiter,
        decimal_comma=arguments.decimal_comma,
        clock_tolerance_s=arguments.clock_tolerance_s,
    )


def _pair(given: str, option: str, form: str) -> tuple[str, str]:
    before, equals, after = given.rpartition("=") if option == "--point" else given.partition("=")
    if not equals or not before or not after:
        raise Invalid(f"{option} {given!r} is not of the form {form}")
    return before, after


def _value_column(given: str) -> "ValueColumn":
    from cloud_hub.transfer.options import ValueColumn  # noqa: PLC0415

    title, named = _pair(given, "--point", "TITLE=POINT or TITLE=POINT:UNIT")
    point, _, unit = named.partition(":")
    return ValueColumn(title, point, unit or None)


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return None if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid(f"{name!r} is no time zone: use a name such as 'Europe/Berlin'") from error


def _profile(name: str | None) -> str | None:
    from protocol.errors import UnknownProfile  # noqa: PLC0415
    from protocol.library import get_profile  # noqa: PLC0415

    if name is not None:
        try:
            get_profile(name)
        except UnknownProfile as error:
            raise Invalid(str(error)) from error
    return name


@contextmanager
def _lines(file: str) -> Iterator[TextIO]:
    try:
        if file == "-":
            yield sys.stdin
        else:
            with Path(file).open(encoding="utf-8-sig", newline="") as lines:
                yield lines
    except UnicodeDecodeError as error:
        raise Invalid(f"{file} is not UTF-8 text: save it as CSV in UTF-8") from error
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}") from error


def _print_imported(imported: "Imported", *, is_dry_run: bool) -> None:
    for one in imported.rejected_first[:TOLD]:
        say(f"refused: {one}", is_error=True)
    if imported.rejected > TOLD:
        for reason, count in imported.rejected_by_reason.items():
            say(f"refused in all: {count:,} x {reason}", is_error=True)
    for meter in imported.meters[:TOLD]:
        made = " (made)" if meter.is_new else ""
        say(
            f"{meter.controller}/{meter.slug}{made}: {meter.readings:,} readings of {', '.join(meter.points)}, "
            f"{meter.first_at:%Y-%m-%dT%H:%M:%SZ} to {meter.last_at:%Y-%m-%dT%H:%M:%SZ}"
        )
    for kind, count in imported.findings.items():
        say(f"found: {count:,} x {kind}")
    if imported.ahead:
        say(f"{imported.ahead:,} readings are from the future: they count nowhere until somebody has judged them")
    deed = "stored" if imported.is_stored else "would be stored" if is_dry_run else "not stored"
    say(
        f"{imported.new:,} readings {deed}, {imported.known:,} known already, {imported.repeated:,} twice in the file, "
        f"{imported.empty:,} empty cells, {imported.rejected:,} refused."
    )
    if imported.rejected and not imported.is_stored:
        say("Correct the refused lines, or say --skip-rejected to store the others.", is_error=True)
