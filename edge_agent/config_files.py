"""Read the files that people write, and say in one sentence what is wrong with them."""

import difflib
import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from edge_agent.errors import SettingsError

_PLAIN_FAULTS = {
    "missing": "is missing; add it",
    "int_parsing": "{value} is not a whole number",
    "int_type": "{value} is not a whole number",
    "int_from_float": "{value} is not a whole number",
    "float_parsing": "{value} is not a number",
    "float_type": "{value} is not a number",
    "decimal_parsing": "{value} is not a number",
    "decimal_type": "{value} is not a number",
    "string_type": "{value} is not a text; put it in quotation marks",
    "path_type": "{value} is not a text; put it in quotation marks",
    "string_too_short": "{value} is empty; fill it in",
    "too_short": "{value} is empty; fill it in",
    "model_type": "{value} is not a table; write a table here",
    "dict_type": "{value} is not a table; write a table here",
    "tuple_type": "{value} is not a list; write a list here",
    "literal_error": "{value} is not a choice; use {expected}",
    "enum": "{value} is not a choice; use {expected}",
    "value_error": "{error}",
    "greater_than": "{value} is out of range; it must be greater than {gt}",
    "greater_than_equal": "{value} is out of range; it must be at least {ge}",
    "less_than": "{value} is out of range; it must be less than {lt}",
    "less_than_equal": "{value} is out of range; it must be at most {le}",
}


def read_toml(path: Path, *, remedy: str) -> dict[str, Any]:
    """Read a TOML file; `remedy` says what to do when it cannot be had.

    Raises: SettingsError.
    """
    values: dict[str, Any] = _read(path, "TOML", tomllib.loads, remedy)
    return values


def read_json(path: Path, *, remedy: str) -> dict[str, Any]:
    """Read a JSON file that holds an object; `remedy` says what to do when it cannot be had.

    Raises: SettingsError.
    """
    values = _read(path, "JSON", json.loads, remedy)
    if not isinstance(values, dict):
        raise SettingsError(f"{path} holds no JSON object; write one between braces")
    return values


def explain(
    path: Path,
    error: ValidationError,
    *,
    sources: Mapping[str, str] | None = None,
    known_keys: Iterable[str] = (),
) -> str:
    """Put the first fault of a validation into one sentence: file, key, value, remedy.

    `sources` names, for keys that did not come from the file, where they came from; `known_keys` are
    offered when a key is misspelt.
    """
    faults = error.errors(include_url=False)
    key = key_text(faults[0]["loc"])
    place = ": ".join(part for part in ((sources or {}).get(key, str(path)), key) if part)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{place}: {_fault(faults[0], known_keys)}{more}"


def key_text(location: Iterable[int | str]) -> str:
    """Write a location as people do: `buses[0].meters[1].profile`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the nearest choice; nothing when none is near."""
    near = difflib.get_close_matches(word, list(choices), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _read(path: Path, kind: str, parse: Callable[[str], Any], remedy: str) -> Any:  # noqa: ANN401 - as the file has it
    try:
        return parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path} does not exist: {remedy}") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}): {remedy}") from None
    except ValueError as error:  # both parsers' errors, and bytes that are no text
        raise SettingsError(f"{path} is not valid {kind}: {error}; correct that place") from None


def _fault(details: ErrorDetails, known_keys: Iterable[str]) -> str:
    if details["type"] == "extra_forbidden":
        location = details["loc"]
        beside = [key for key in known_keys if key.count(".") == len(location) - 1]
        return f"is not a key that is known here{did_you_mean(key_text(location), beside)}; correct or remove it"
    value = repr(details["input"])
    text = _PLAIN_FAULTS.get(details["type"])
    if text is None:
        return f"{value}: {details['msg']}"
    return text.format_map({"value": value, **details.get("ctx", {})})
