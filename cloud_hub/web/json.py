"""Answers of the API: a pydantic shape becomes JSON, and nothing else does."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from flask import Response
from pydantic import BaseModel


def answer_json(shape: BaseModel) -> Response:
    """Answer with a shape as JSON."""
    return Response(shape.model_dump_json(by_alias=True), content_type="application/json")


def answer_sparse(shape: BaseModel, without: AbstractSet[str] | Mapping[str, Any]) -> Response:
    """Answer with a shape as JSON, without some of its fields: names, or names of parts with names in them."""
    body = shape.model_dump_json(by_alias=True, exclude=without)  # type: ignore[arg-type]  # pydantic names concrete types
    return Response(body, content_type="application/json")
