"""What the blueprints of this slice share: bodies in, series of values in and out."""

from datetime import datetime
from http import HTTPStatus

from flask import Response, request
from pydantic import BaseModel

from cloud_hub.calendar.days import instant_of_ms
from cloud_hub.calendar.documents import Model, parse_json
from cloud_hub.errors import Invalid
from cloud_hub.tariffs.schemas import SpanOut, SpansOut
from cloud_hub.tariffs.steps import Steps
from cloud_hub.web.json import answer_json
from cloud_hub.web.parameters import parse_instant


def read_body(model: type[Model]) -> Model:
    """Read the request's body.

    Raises: Invalid.
    """
    return parse_json(model, request.get_data(), "the request's body")


def answer_created(shape: BaseModel) -> Response:
    """Answer with what was made."""
    answer = answer_json(shape)
    answer.status_code = HTTPStatus.CREATED
    return answer


def answer_gone() -> Response:
    """Answer that it is done and nothing is left to show."""
    return Response(status=HTTPStatus.NO_CONTENT)


def wanted_range() -> tuple[datetime, datetime]:
    """Return the request's `from` and `to`.

    Raises: Invalid.
    """
    start, end = parse_instant(request.args, "from"), parse_instant(request.args, "to")
    if end <= start:
        raise Invalid("to is not after from: a range of time begins at from and ends before to")
    return start, end


def answer_steps(steps: Steps) -> Response:
    """Answer with the values of a series."""
    rows = zip(steps.from_ms.tolist(), steps.until_ms.tolist(), steps.values, strict=True)
    items = [SpanOut(start=instant_of_ms(low), until=instant_of_ms(high), value=value) for low, high, value in rows]
    return answer_json(SpansOut(items=items))
