"""Equally long columns as an answer: as CSV for spreadsheets, as an Arrow stream for programs. JSON is each slice's own."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, StrEnum, auto
from io import BytesIO, StringIO
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import quote

import numpy as np
from flask import Response, request
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field
from werkzeug.exceptions import NotAcceptable


class Format(StrEnum):
    """As what columns are answered."""

    JSON = "json"
    CSV = "csv"
    ARROW = "arrow"


MEDIA_TYPES: Final = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv",
    Format.ARROW: "application/vnd.apache.arrow.stream",
}
"""What a request may accept, the first when it does not say."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")


class Kind(Enum):
    """What a column holds, and as what type it comes."""

    INSTANT = auto()
    """int64: UTC milliseconds since 1970."""
    NUMBER = auto()
    """float64; NaN is nothing."""
    AMOUNT = auto()
    """Exact decimals as texts, with 6 digits behind the point at most; None is nothing."""
    WORD = auto()
    """Texts; None is nothing."""
    WORDS = auto()
    """Lists of texts."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    name: str
    kind: Kind
    values: NDArray[Any] | Sequence[Any]


Word = TypeVar("Word", bound=StrEnum)


def _split(given: object) -> object:
    texts = given if isinstance(given, list) else [given]
    return [word for text in texts for word in (text.split(",") if isinstance(text, str) else [text])]


Fields = Annotated[list[Word], BeforeValidator(_split), Field(min_length=1, max_length=50)]
"""The fields that an answer shall have: words of an enumeration, one after the other or between commas."""


def wanted_format(asked: Format | None) -> Format:
    """Return what the request wants: what its `format` says, else what it accepts, JSON first.

    Raises: NotAcceptable when it accepts none of them.
    """
    if asked is not None or not request.accept_mimetypes:
        return asked or Format.JSON
    best = request.accept_mimetypes.best_match(MEDIA_TYPES.values())
    for form, media_type in MEDIA_TYPES.items():
        if media_type == best:
            return form
    raise NotAcceptable(f"Accept one of {', '.join(MEDIA_TYPES.values())}, or send format={'|'.join(Format)}.")


def answer_columns(form: Format, columns: Sequence[Column], about: Mapping[str, str], *, file_name: str) -> Response:
    """Answer with CSV or Arrow; `about` says what the columns are of, in headers and in the Arrow schema."""
    body = _write_csv(columns) if form is Format.CSV else _write_arrow(columns, about)
    media_type = MEDIA_TYPES[form] + ("; charset=utf-8" if form is Format.CSV else "")
    answer = Response(body, content_type=media_type)
    answer.headers["Content-Disposition"] = f'attachment; filename="{file_name}.{form}"'
    for name, value in about.items():
        answer.headers[f"Meterhaul-{name.replace('_', '-').title()}"] = quote(
            value, safe=" /:,()"
        )  # units are no ASCII
    return answer


def harmless(text: str) -> str:
    """Return a text that no spreadsheet runs as a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def instant_texts(values: NDArray[np.int64]) -> list[str]:
    """Write UTC milliseconds since 1970 as ISO 8601."""
    texts: list[str] = np.datetime_as_string(values.astype("datetime64[ms]"), unit="ms").tolist()
    return [f"{text}Z" for text in texts]


def number_texts(values: NDArray[np.float64]) -> list[str]:
    """Write numbers; nothing for NaN."""
    # `repr` is the shortest text that reads back as the same float64.
    return ["" if value != value else repr(value) for value in values.tolist()]  # noqa: PLR0124 - NaN, without a call each


def _write_csv(columns: Sequence[Column]) -> bytes:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([column.name for column in columns])
    writer.writerows(zip(*(_CELLS[column.kind](column.values) for column in columns), strict=True))
    return text.getvalue().encode()


_CELLS: dict[Kind, Callable[[Any], list[str]]] = {
    Kind.INSTANT: lambda values: instant_texts(np.asarray(values, np.int64)),
    Kind.NUMBER: lambda values: number_texts(np.asarray(values, np.float64)),
    Kind.AMOUNT: lambda values: ["" if value is None else value for value in values],
    Kind.WORD: lambda values: ["" if value is None else harmless(value) for value in values],
    Kind.WORDS: lambda values: [harmless("|".join(words)) for words in values],
}


def _write_arrow(columns: Sequence[Column], about: Mapping[str, str]) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 - 40 MB that few requests need

    amount = pa.decimal128(19, 6)
    makers: dict[Kind, Callable[[Any], Any]] = {
        Kind.INSTANT: lambda values: pa.array(np.asarray(values, np.int64)).cast(pa.timestamp("ms", tz="UTC")),
        Kind.NUMBER: lambda values: pa.array(np.asarray(values, np.float64), from_pandas=True),  # NaN becomes null
        Kind.AMOUNT: lambda values: pa.array([None if one is None else Decimal(one) for one in values], amount),
        Kind.WORD: lambda values: pa.array(values, pa.string()),
        Kind.WORDS: lambda values: pa.array(values, pa.list_(pa.string())),
    }
    table = pa.table({column.name: makers[column.kind](column.values) for column in columns})
    stream = BytesIO()
    with pa.ipc.new_stream(stream, table.schema.with_metadata(dict(about))) as writer:
        writer.write_table(table.replace_schema_metadata(dict(about)))
    return stream.getvalue()
