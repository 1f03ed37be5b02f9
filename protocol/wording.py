"""Say in one sentence what is wrong with what people wrote: which key, which value, which remedy. Pure."""

import difflib
from collections.abc import Iterable

from pydantic_core import ErrorDetails

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


def fault_text(details: ErrorDetails, known_keys: Iterable[str] = ()) -> str:
    """Say what is wrong with a value and how to mend it; `known_keys` are offered when a key is misspelt."""
    if details["type"] == "extra_forbidden":
        location = details["loc"]
        beside = [key for key in known_keys if key.count(".") == len(location) - 1]
        return f"is not a key that is known here{did_you_mean(key_text(location), beside)}; correct or remove it"
    value = repr(details["input"])
    text = _PLAIN_FAULTS.get(details["type"])
    if text is None:
        return f"{value}: {details['msg']}"
    return text.format_map({"value": value, **details.get("ctx", {})})
