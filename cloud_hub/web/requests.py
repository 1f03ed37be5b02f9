"""What a request says, read strictly: parameters and JSON bodies into pydantic shapes."""

from typing import Any, TypeVar, get_origin

from flask import request
from pydantic import BaseModel
from werkzeug.exceptions import UnsupportedMediaType

from cloud_hub.errors import Invalid
from cloud_hub.web.documents import parse_document, parse_json

Shape = TypeVar("Shape", bound=BaseModel)


def read_query(shape: type[Shape]) -> Shape:
    """Read the parameters after the `?`; a list takes a parameter that comes several times.

    Raises: Invalid naming the parameter.
    """
    lists = {field.alias or name for name, field in shape.model_fields.items() if _is_list(field.annotation)}
    given: dict[str, Any] = {}
    for name, values in request.args.lists():
        if len(values) > 1 and name not in lists:
            raise Invalid(f"{name} is there {len(values)} times: send it once")
        given[name] = values if name in lists else values[0]
    return parse_document(shape, given, "the request's parameters")


def read_body(shape: type[Shape]) -> Shape:
    """Read the request's JSON body.

    Raises: Invalid naming the key; UnsupportedMediaType for a body that does not say that it is JSON.
    """
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("Send the body as JSON, with Content-Type: application/json.")
    return parse_json(shape, request.get_data(), "the request's body")


def _is_list(annotation: object) -> bool:
    return get_origin(annotation) in {list, tuple} or "list[" in str(annotation)
