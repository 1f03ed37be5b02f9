"""Documents that people write, such as opening hours and tariffs: read strictly, refused in one sentence. Pure."""

import json
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from cloud_hub.errors import Invalid

Model = TypeVar("Model", bound=BaseModel)

DEPTH_MAX = 32
"""How deep lists and objects of a body may stand in each other."""
ERRORS_MAX = 20
"""Places at fault that one refusal names."""


class Document(BaseModel):
    """A part of a document: never changed, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _refuse_float(given: object) -> object:
    if isinstance(given, float | bool):
        raise ValueError("is not an exact decimal: write it as text, such as '0.2845'")  # noqa: TRY004 - pydantic reports ValueErrors
    return given


Exact = Annotated[
    Decimal,
    Field(max_digits=24, decimal_places=12),
    BeforeValidator(_refuse_float),
    PlainSerializer(lambda value: format(value, "f"), return_type=str, when_used="json"),
]
"""A decimal that never was a float; in JSON a text, or a number read by `parse_json`."""


def parse_json(model: type[Model], body: bytes, what: str) -> Model:
    """Read JSON; its numbers stay the decimals that were written.

    Raises: Invalid.
    """
    try:
        given = json.loads(body, parse_float=Decimal, parse_constant=_refuse_constant)
        _check_depth(given)
        _check_letters(given)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{what} is no JSON ({error}): send a JSON object") from error
    return parse_document(model, given, what)


def parse_document(model: type[Model], given: object, what: str) -> Model:
    """Read what JSON or TOML can hold; `what` names it in messages.

    Raises: Invalid, naming the key at fault.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise Invalid(f"{what}: {_describe(error, model)}", _pointers(error)) from error


def to_json(document: BaseModel) -> dict[str, Any]:
    """Return a document as JSON can hold it, decimals as texts, without what was left out."""
    dumped: dict[str, Any] = document.model_dump(mode="json", exclude_defaults=True, by_alias=True)
    return dumped


def _check_letters(given: object) -> None:
    """Refuse what JSON can write and a database cannot hold: NUL and halves of letters.

    Raises: ValueError.
    """
    if "\\u0000" in json.dumps(given, default=str):
        raise ValueError("it holds a NUL character")
    json.dumps(given, ensure_ascii=False, default=str).encode()


def _check_depth(given: object) -> None:
    """Refuse what nobody writes by hand or program, before anything walks into it.

    Raises: ValueError.
    """
    level, depth = [given], 0
    while level:
        depth += 1
        if depth > DEPTH_MAX:
            raise ValueError(f"its lists and objects stand more than {DEPTH_MAX} deep in each other")
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no number")


def _pointers(error: ValidationError) -> list[tuple[str, str]]:
    return [
        ("/" + "/".join(str(key).replace("~", "~0").replace("/", "~1") for key in one["loc"]), one["msg"])
        for one in error.errors(include_url=False, include_context=False, include_input=False)[:ERRORS_MAX]
    ]


def _describe(error: ValidationError, model: type[BaseModel]) -> str:
    first = error.errors()[0]
    where = ": ".join(str(key) for key in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        said = "is not a key that belongs here: remove it, or look for a slip of the pen"
    elif first["type"] == "missing":
        said = "is missing"
    elif not where:
        return said if first["type"] == "value_error" else f"{said}; its keys are {', '.join(model.model_fields)}"
    given = first.get("input")
    shown = f" (here: {given!r})" if isinstance(given, str | int | Decimal | date | datetime | time) else ""
    return f"{where}: {said[:1].lower()}{said[1:]}{shown if len(shown) < 80 else ''}"


def read_clock(text: str) -> int:
    """Return `HH:MM` as minutes since midnight, 0 to 1440 (`24:00`).

    Raises: ValueError.
    """
    hours, colon, minutes = text.partition(":")
    are_digits = len(hours) == len(minutes) == 2 and (hours + minutes).isdecimal() and text.isascii()
    minute = int(hours) * 60 + int(minutes) if colon and are_digits else -1
    if minute < 0 or minute > 24 * 60 or int(minutes) > 59:
        raise ValueError(f"{text!r} is no time of the clock: write it as 08:30, from 00:00 to 24:00")
    return minute
