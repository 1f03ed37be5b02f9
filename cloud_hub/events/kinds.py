"""Which kinds of events are wanted: whole words, or their beginnings. Pure."""

from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import Field

EVERY: Final = "*"

KindPattern = Annotated[str, Field(max_length=80, pattern=r"^(\*|[a-z_]+(\.[a-z_]+)*(\.\*)?)$")]
"""`meter.commissioned`, `meter.*` for all that begin with `meter.`, or `*` for all."""

IS_WANTED_SQL: Final = (
    "EXISTS (SELECT FROM unnest({patterns}) AS pattern WHERE pattern IN ('*', {kind}) "
    "OR (pattern LIKE '%.*' AND starts_with({kind}, left(pattern, -1))))"
)
"""The same as `is_wanted`, for queries; a test holds them together. (`:` and `%` stand for themselves.)"""


def is_wanted(kind: str, patterns: Iterable[str]) -> bool:
    """Say whether a kind of event is among the wanted ones."""
    return any(
        pattern in {EVERY, kind} or (pattern.endswith(".*") and kind.startswith(pattern[:-1])) for pattern in patterns
    )
