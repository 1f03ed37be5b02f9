"""Write TOML: what `tomllib` reads back as the same values. Pure."""

import json
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal

_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_WHOLE_MAX = 2**53


def write_toml(values: Mapping[str, object], *, inline: Collection[str] = ()) -> str:
    """Write a table as a document: plain values first, then lists of tables under headings of their own.

    Tables, and lists of tables whose key is in `inline`, stand in the line of their key.
    """
    return "\n".join(_document(values, "", frozenset(inline))).strip("\n") + "\n"


def _document(values: Mapping[str, object], above: str, inline: frozenset[str]) -> Iterator[str]:
    headed = {key: _tables(value) for key, value in values.items() if key not in inline and _tables(value)}
    for key, value in values.items():
        if key in headed:
            continue
        rows = _tables(value)
        yield f"{_key(key)} = [" if rows else f"{_key(key)} = {_inline(value)}"
        if rows:
            yield from (f"  {_inline(row)}," for row in rows)
            yield "]"
    for key, rows in headed.items():
        name = f"{above}{_key(key)}"
        for row in rows:
            yield from ("", f"[[{name}]]", *_document(row, f"{name}.", inline))


def _tables(value: object) -> list[Mapping[str, object]]:
    """Return a list's items when they are tables."""
    items = list(value) if isinstance(value, list | tuple) else []
    return items if all(isinstance(item, Mapping) for item in items) else []


def _inline(value: object) -> str:
    match value:
        case Mapping():
            text = "{" + ", ".join(f"{_key(key)} = {_inline(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            text = "[" + ", ".join(_inline(item) for item in value) + "]"
        case bool():
            text = "true" if value else "false"
        case Decimal():
            text = f"{value:f}"
        case float() if value.is_integer() and abs(value) < _WHOLE_MAX:
            text = str(int(value))
        case int() | float():
            text = str(value)
        case _:
            text = _quoted(str(value))
    return text


def _key(key: str) -> str:
    return key if key and set(key) <= _BARE else _quoted(key)


def _quoted(text: str) -> str:
    """Write a basic string of TOML, which takes every escape that JSON writes, and one more."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
