"""`meterhaul hub export`: readings, intervals and totals as files."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from cloud_hub.command_line import add_command, open_engine, say
from cloud_hub.errors import Invalid
from cloud_hub.settings import HubSettings


def add_export(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type private
    """Add the command."""
    parser = add_command(commands, "export", _export, "write readings, intervals or totals to a file")
    parser.add_argument("what", choices=["readings", "intervals", "totals"])
    parser.add_argument("--format", choices=["csv", "parquet", "espi"], default="csv", help="default: %(default)s")
    parser.add_argument("--from", dest="start", required=True, help="date (local midnight) or instant with its offset")
    parser.add_argument("--to", dest="end", required=True, help="where the range ends, itself not included")
    parser.add_argument("--organisation", help="only this organisation's")
    parser.add_argument("--site", help="only this site's")
    parser.add_argument("--meter", help="only meters of this id at their controller")
    parser.add_argument("--point", help="only points of this name")
    parser.add_argument("--step", choices=["day", "month"], default="day", help="of totals (default: %(default)s)")
    parser.add_argument("--as-known-at", help="intervals and totals as they were known at this instant")
    parser.add_argument("--output", default="-", help="the file to write; - is standard output (default)")


def _export(arguments: argparse.Namespace, settings: HubSettings) -> int:
    from sqlalchemy.orm import Session  # noqa: PLC0415

    from cloud_hub.transfer.exporting import Format, Order, What, begin_export  # noqa: PLC0415
    from cloud_hub.transfer.ledger_out import Step  # noqa: PLC0415
    from cloud_hub.transfer.parameters import parse_edge  # noqa: PLC0415
    from cloud_hub.transfer.selection import Selection, make_range  # noqa: PLC0415

    order = Order(
        what=What(arguments.what),
        format=Format(arguments.format),
        selection=Selection(
            organisation=arguments.organisation, site=arguments.site, meter=arguments.meter, point=arguments.point
        ),
        range=make_range(parse_edge(arguments.start, "--from"), parse_edge(arguments.end, "--to")),
        step=Step(arguments.step),
        as_known_at=_instant(arguments.as_known_at),
    )
    engine = open_engine(settings, "meterhaul-export")
    with Session(engine) as session:
        written = _write(begin_export(session, order).chunks, arguments.output)
    engine.dispose()
    if arguments.output != "-":
        told = {"file": arguments.output, "bytes": written}
        say(json.dumps(told) if arguments.json else f"{arguments.output}: {written:,} bytes.")
    return 0


def _instant(text: str | None) -> datetime | None:
    from cloud_hub.web.parameters import parse_instant  # noqa: PLC0415

    return None if text is None else parse_instant({"--as-known-at": text}, "--as-known-at")


def _write(chunks: Iterator[bytes], output: str) -> int:
    """Write to standard output, or to a file that is there only when it is whole."""
    if output == "-":
        written = sum(sys.stdout.buffer.write(chunk) for chunk in chunks)
        sys.stdout.buffer.flush()
        return written
    path = Path(output)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            written = sum(file.write(chunk) for chunk in chunks)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise Invalid(f"{output} cannot be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    return written
