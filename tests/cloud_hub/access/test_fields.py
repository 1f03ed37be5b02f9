"""What a request may hold is what its shape declares, down to the last field."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from flask import Flask
from pydantic import BaseModel

from cloud_hub.web.operations import operations_of


def test_no_body_and_no_query_takes_a_field_that_nobody_declared(app: Flask) -> None:
    shapes = [shape for one in operations_of(app).values() for shape in (one.query, one.body) if shape is not None]
    found = {model for shape in shapes for model in models_in(shape, frozenset())}
    assert len(found) > 80
    assert sorted(model.__qualname__ for model in found if model.model_config.get("extra") != "forbid") == []


def models_in(kind: Any, seen: frozenset[object]) -> Iterator[type[BaseModel]]:
    """Yield the models that a type is made of."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if kind not in seen:
            yield kind
            for field in kind.model_fields.values():
                yield from models_in(field.annotation, seen | {kind})
    elif get_origin(kind) in {Annotated, Union, UnionType} or get_args(kind):
        for part in get_args(kind):
            yield from models_in(part, seen)
