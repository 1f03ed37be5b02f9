"""What two configurations differ in, key by key. Pure.

Entries of lists are matched by what names them (a bus by its id, a factor by its point), so that a meter
which moved up is no change of all meters below it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_NAMES = ("id", "name", "point")
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """One key that differs."""

    path: str
    """As people write it: `buses[cabinet].meters[heater].period_s`."""
    before: Any
    """None when it was not there."""
    after: Any
    """None when it is not there."""


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """List what differs between two documents, in the order of their keys."""
    return list(_compare("", before, after))


def _compare(path: str, before: Any, after: Any) -> Iterator[Difference]:  # noqa: ANN401 - what JSON can hold
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*before, *after]):
            yield from _compare(f"{path}.{key}" if path else key, before.get(key, _ABSENT), after.get(key, _ABSENT))
        return
    named_before, named_after = _by_name(before), _by_name(after)
    if named_before is not None and named_after is not None:
        for key in dict.fromkeys([*named_before, *named_after]):
            place = f"{path}[{key}]"
            yield from _compare(place, named_before.get(key, _ABSENT), named_after.get(key, _ABSENT))
        in_both = [key for key in named_before if key in named_after]
        order = [key for key in named_after if key in named_before]
        if in_both != order:
            yield Difference(f"{path} (order)", in_both, order)
        return
    if before != after:
        yield Difference(path, None if before is _ABSENT else before, None if after is _ABSENT else after)


def _by_name(value: Any) -> dict[str, Any] | None:  # noqa: ANN401 - what JSON can hold
    """Return the entries of a list by their names; None for what is no list of named entries."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    found: dict[str, Any] = {}
    for entry in value:
        name = next((entry[key] for key in _NAMES if key in entry), None) if isinstance(entry, Mapping) else None
        if name is None or name in found:
            return None
        found[str(name)] = entry
    return found
