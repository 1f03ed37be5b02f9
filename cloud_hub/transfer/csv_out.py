"""Blocks as CSV for people and spreadsheets. Pure."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import StringIO
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from cloud_hub.calendar.days import instant_of_ms
from cloud_hub.transfer.blocks import Amounts, Block, Column, Kind
from cloud_hub.web.columns import harmless, instant_texts, number_texts

CONTENT_TYPE = "text/csv; charset=utf-8"

_MINUTE_MS = 60_000


def write_csv(columns: Sequence[Column], blocks: Iterable[Block]) -> Iterator[bytes]:
    """Write the columns' names, then block after block. Instants are UTC, amounts exact, empty is unknown.

    A text that a spreadsheet would take for a formula is led by an apostrophe.
    """
    yield _lines([[column.name for column in columns]])
    for block in blocks:
        cells = [_cells(column, block) for column in columns]
        yield _lines(zip(*cells, strict=True))


def _lines(rows: Iterable[Sequence[str] | tuple[str, ...]]) -> bytes:
    text = StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _cells(column: Column, block: Block) -> list[str]:
    values = block.columns[column.name]
    if isinstance(values, str):
        return [harmless(values)] * block.rows
    if column.kind is Kind.LOCAL:
        return local_stamps(values, block.zone)  # type: ignore[arg-type]  # the kind says which type the values are of
    return _WRITERS[column.kind](values)


def _words(values: Sequence[str]) -> list[str]:
    known = {word: harmless(word) for word in set(values)}
    return [known[word] for word in values]


def local_stamps(values: NDArray[np.int64], zone: ZoneInfo) -> list[str]:
    """Write instants by a zone's clock, with their offset from UTC; the zone is asked once a minute."""
    minutes, which = np.unique(values // _MINUTE_MS, return_inverse=True)
    clocks = [instant_of_ms(int(minute) * _MINUTE_MS).astimezone(zone) for minute in minutes.tolist()]
    offsets = np.array(
        [0 if (gap := clock.utcoffset()) is None else round(gap.total_seconds() * 1000) for clock in clocks]
    )
    suffixes = [clock.isoformat(timespec="seconds")[19:] for clock in clocks]
    shown: list[str] = np.datetime_as_string((values + offsets[which]).astype("datetime64[ms]"), unit="ms").tolist()
    return [text + suffixes[place] for text, place in zip(shown, which.tolist(), strict=True)]


def _dates(values: NDArray[np.int32]) -> list[str]:
    texts: list[str] = np.datetime_as_string(values.astype("datetime64[D]")).tolist()
    return texts


def _amounts(values: Amounts) -> list[str]:
    return [
        format_micro(micro) if is_known else ""
        for micro, is_known in zip(values.micro.tolist(), values.is_known.tolist(), strict=True)
    ]


def format_micro(micro: int) -> str:
    """Write millionths as an exact decimal number."""
    whole, part = divmod(abs(micro), 1_000_000)
    text = f"{whole}.{part:06}".rstrip("0").rstrip(".")
    return f"-{text}" if micro < 0 else text


def _shares(values: NDArray[np.integer[Any]]) -> list[str]:
    return [f"{value / 1000:.3f}" for value in values.tolist()]


def _counts(values: NDArray[np.integer[Any]]) -> list[str]:
    return [str(value) for value in values.tolist()]


_WRITERS: dict[Kind, Callable[[Any], list[str]]] = {
    Kind.WORD: _words,
    Kind.INSTANT: instant_texts,
    Kind.DATE: _dates,
    Kind.NUMBER: number_texts,
    Kind.AMOUNT: _amounts,
    Kind.SHARE: _shares,
    Kind.COUNT: _counts,
}
