"""Columns as files: numbers stay numbers, nothing stays nothing, and no text becomes a formula."""

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from flask import Flask
from pydantic import TypeAdapter, ValidationError
from werkzeug.exceptions import NotAcceptable

from cloud_hub.web.columns import Column, Fields, Format, Kind, answer_columns, wanted_format

COLUMNS = [
    Column("start", Kind.INSTANT, np.array([0, 1_769_860_800_123], np.int64)),
    Column("value", Kind.NUMBER, np.array([-1.5, np.nan])),
    Column("amount", Kind.AMOUNT, ["-9223372036854.775807", None]),
    Column("label", Kind.WORD, ["=1+1", None]),
    Column("causes", Kind.WORDS, [["-gap", "spike"], []]),
]
ABOUT = {"unit": "m³", "reduced": "false"}


class Word(StrEnum):
    ONE = "one"
    TWO = "two"


def test_a_spreadsheet_gets_numbers_as_they_are_and_texts_that_do_nothing() -> None:
    answer = answer_columns(Format.CSV, COLUMNS, ABOUT, file_name="series")
    rows = list(csv.reader(io.StringIO(answer.get_data(as_text=True))))
    assert rows == [
        ["start", "value", "amount", "label", "causes"],
        ["1970-01-01T00:00:00.000Z", "-1.5", "-9223372036854.775807", "'=1+1", "'-gap|spike"],
        ["2026-01-31T12:00:00.123Z", "", "", "", ""],
    ]
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="series.csv"'
    assert (answer.headers["Meterhaul-Unit"], answer.headers["Meterhaul-Reduced"]) == ("m%C2%B3", "false")


def test_an_arrow_stream_has_types_and_nulls_and_says_what_it_is_of() -> None:
    answer = answer_columns(Format.ARROW, COLUMNS, ABOUT, file_name="series")
    table: Any = pa.ipc.open_stream(answer.get_data()).read_all()
    assert [str(kind) for kind in table.schema.types] == [
        "timestamp[ms, tz=UTC]",
        "double",
        "decimal128(19, 6)",
        "string",
        "list<item: string>",
    ]
    assert table.to_pylist()[0] == {
        "start": datetime(1970, 1, 1, tzinfo=UTC),
        "value": -1.5,
        "amount": Decimal("-9223372036854.775807"),
        "label": "=1+1",
        "causes": ["-gap", "spike"],
    }
    assert [table.to_pylist()[1][name] for name in ("value", "amount", "label", "causes")] == [None, None, None, []]
    assert table.schema.metadata == {b"unit": "m³".encode(), b"reduced": b"false"}


def test_columns_without_rows_keep_their_types() -> None:
    empty = [Column(column.name, column.kind, []) for column in COLUMNS]
    full: Any = pa.ipc.open_stream(answer_columns(Format.ARROW, COLUMNS, ABOUT, file_name="x").get_data()).read_all()
    none: Any = pa.ipc.open_stream(answer_columns(Format.ARROW, empty, ABOUT, file_name="x").get_data()).read_all()
    assert (none.num_rows, none.schema) == (0, full.schema)
    assert answer_columns(Format.CSV, empty, ABOUT, file_name="x").get_data() == b"start,value,amount,label,causes\r\n"


@pytest.mark.parametrize(
    ("accept", "asked", "form"),
    [
        (None, None, Format.JSON),
        ("*/*", None, Format.JSON),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", None, Format.JSON),
        ("text/csv", None, Format.CSV),
        ("application/json;q=0.5, application/vnd.apache.arrow.stream", None, Format.ARROW),
        ("text/csv", Format.ARROW, Format.ARROW),
    ],
)
def test_the_format_is_what_is_asked_for_else_what_is_accepted(
    accept: str | None, asked: Format | None, form: Format
) -> None:
    headers = {} if accept is None else {"Accept": accept}
    with Flask("x").test_request_context(headers=headers):
        assert wanted_format(asked) is form


def test_who_accepts_none_of_them_is_told_which_there_are() -> None:
    with (
        Flask("x").test_request_context(headers={"Accept": "image/png"}),
        pytest.raises(NotAcceptable, match=r"text/csv.*format=json\|csv\|arrow"),
    ):
        wanted_format(None)


def test_fields_come_one_by_one_or_between_commas() -> None:
    fields = TypeAdapter(Fields[Word])
    assert fields.validate_python(["one", "two"]) == fields.validate_python(["one,two"]) == [Word.ONE, Word.TWO]
    with pytest.raises(ValidationError, match="'one' or 'two'"):
        fields.validate_python(["one,three"])
