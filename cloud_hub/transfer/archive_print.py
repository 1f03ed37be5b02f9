"""Archived rows as text for people and tools."""

import csv
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TextIO

from cloud_hub.errors import Invalid
from cloud_hub.transfer.archive_store import ArchiveStore, Part
from cloud_hub.web.columns import harmless
from protocol.quality import quality_name


def print_parts(store: ArchiveStore, parts: Iterable[Part], out: TextIO, *, as_json: bool) -> None:
    """Print the rows of files of one kind as CSV, or one JSON document a line.

    Raises: Invalid when the files are of several kinds, which have different columns.
    """
    parts = list(parts)
    kinds = sorted({part.kind for part in parts})
    if len(kinds) > 1 and not as_json:
        raise Invalid(f"the archive holds {', '.join(kinds)}, which have different columns: choose one with --kind")
    writer: Any = None
    for part in parts:
        for batch in store.read(part):
            for row in batch.to_pylist():
                cells = {name: _cell(part.kind, name, value) for name, value in row.items()}
                if as_json:
                    out.write(json.dumps(cells) + "\n")
                    continue
                if writer is None:
                    writer = csv.DictWriter(out, cells.keys(), lineterminator="\n")
                    writer.writeheader()
                writer.writerow({name: _text(value) for name, value in cells.items()})


def _cell(kind: str, name: str, value: Any) -> Any:  # noqa: ANN401 - a value of any column
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, list):
        return [_cell(kind, name, one) for one in value]
    if kind == "readings" and name == "quality":
        return quality_name(value)
    return value if isinstance(value, int | float | str | None) else str(value)


def _text(value: Any) -> str:  # noqa: ANN401 - see above
    if isinstance(value, str):
        return harmless(value)
    return "" if value is None else json.dumps(value) if isinstance(value, list) else repr(value)
