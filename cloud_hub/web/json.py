"""Answers of the API: a pydantic shape becomes JSON, and nothing else does."""

from flask import Response
from pydantic import BaseModel


def answer_json(shape: BaseModel) -> Response:
    """Answer with a shape as JSON."""
    return Response(shape.model_dump_json(by_alias=True), content_type="application/json")
