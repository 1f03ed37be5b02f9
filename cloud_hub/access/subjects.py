"""What a request names: a word for each kind of thing, and how to find whose it is.

Each slice declares its kinds beside its models; routes and bodies name them, and the guard finds
and judges every one before the handler runs.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud_hub.access.actor import Subject
from cloud_hub.access.permissions import Permission


@dataclass(frozen=True, slots=True)
class Names:
    """Mark of a field in a query or a body: its value names a thing of this kind. A list names several.

    With `permission` it takes that one rather than the route's, such as to use a tariff one may not change.
    """

    kind: str
    permission: Permission | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """One thing that a request names."""

    kind: str
    key: object
    permission: Permission | None
    where: str
    """The parameter or field, for messages."""


@dataclass(frozen=True, slots=True)
class _Kind:
    sql: str
    is_catalogue: bool
    split: Callable[[object], dict[str, object]]


_kinds: dict[str, _Kind] = {}


def declare(
    kind: str,
    sql: str,
    *,
    is_catalogue: bool = False,
    split: Callable[[object], dict[str, object]] = lambda key: {"key": key},
) -> None:
    """Say how a thing of this kind is found: SQL that answers organisation_id, lineage and site_id.

    Its parameters are what `split` makes of the name in the request: `:key`, when left out. Several rows are
    several things of that name. Things of a catalogue may be read by organisations below as well.
    """
    _kinds[kind] = _Kind(sql, is_catalogue, split)


def is_declared(kind: str) -> bool:
    """Say whether somebody declared this kind."""
    return kind in _kinds


def find_subjects(session: Session, kind: str, key: object) -> list[Subject]:
    """Return whose the things of that name are that the session may see: usually one, or none."""
    known = _kinds[kind]
    rows = session.execute(text(known.sql), known.split(key))
    return [Subject(row.organisation_id, tuple(row.lineage), row.site_id, known.is_catalogue) for row in rows]


def names_in(model: type[BaseModel] | None) -> list[tuple[str, Names]]:
    """List the fields of a model, and of models in it, that name things: paths such as `meters.parent_id`."""
    return [] if model is None else list(_walk_model(model, "", frozenset()))


def collect(value: BaseModel) -> Iterator[Named]:
    """Yield all things that a query or body names."""
    for name, field in type(value).model_fields.items():
        given = getattr(value, name)
        marks = [mark for mark in field.metadata if isinstance(mark, Names)]
        marks += list(_marks(field.annotation))
        yield from _collect(given, marks, name)


def _collect(given: object, marks: list[Names], where: str) -> Iterator[Named]:
    if given is None:
        return
    if isinstance(given, BaseModel):
        yield from collect(given)
    elif isinstance(given, dict):
        for one in given.values():
            yield from _collect(one, marks, where)
    elif isinstance(given, Iterable) and not isinstance(given, str | bytes):
        for one in given:
            yield from _collect(one, marks, where)
    else:
        for mark in marks:
            yield Named(mark.kind, given, mark.permission, where)


def _walk_model(model: type[BaseModel], prefix: str, above: frozenset[type]) -> Iterator[tuple[str, Names]]:
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        yield from ((path, mark) for mark in field.metadata if isinstance(mark, Names))
        yield from ((path, mark) for mark in _marks(field.annotation))
        for inner in _models(field.annotation):
            if inner not in above:
                yield from _walk_model(inner, f"{path}.", above | {model})


def _marks(annotation: Any) -> Iterator[Names]:  # noqa: ANN401 - any annotation
    if get_origin(annotation) is Annotated:
        yield from (mark for mark in get_args(annotation)[1:] if isinstance(mark, Names))
    for inner in _inside(annotation):
        yield from _marks(inner)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - any annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in _inside(annotation):
        yield from _models(inner)


def _inside(annotation: Any) -> tuple[Any, ...]:  # noqa: ANN401 - any annotation
    origin = get_origin(annotation)
    if origin is Annotated:
        return get_args(annotation)[:1]
    if origin in {Union, UnionType, list, tuple, dict, set, frozenset}:
        return get_args(annotation)
    return ()
