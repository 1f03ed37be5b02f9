"""Errors become answers, once and here: problem details (RFC 9457) under /api, pages elsewhere."""

from collections.abc import Sequence
from http import HTTPStatus

import structlog
from flask import Flask, Response, redirect, render_template, request, url_for
from sqlalchemy.exc import InterfaceError, OperationalError
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from cloud_hub.errors import Conflict, Forbidden, HubError, Invalid, NotFound
from cloud_hub.web.etags import ChangedMeanwhile
from cloud_hub.web.problems import answer_problem_json

_STATUS: dict[type[HubError], HTTPStatus] = {
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    Forbidden: HTTPStatus.FORBIDDEN,
    ChangedMeanwhile: HTTPStatus.PRECONDITION_FAILED,
}

log = structlog.get_logger(__name__)


def register_error_handlers(app: Flask) -> None:
    """Answer every error of `app` in the form that its caller reads."""
    app.register_error_handler(HubError, _answer_hub_error)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(OperationalError, _answer_database_away)
    app.register_error_handler(InterfaceError, _answer_database_away)
    app.register_error_handler(Exception, _answer_unexpected)


def answer_problem(status: HTTPStatus, detail: str, errors: Sequence[tuple[str, str]] = ()) -> BaseResponse:
    """Say what went wrong, as problem JSON or as a page."""
    if request.path.startswith("/api/"):
        return answer_problem_json(status, detail, errors)
    if status is HTTPStatus.UNAUTHORIZED:
        return redirect(url_for("users.login", next=request.full_path.rstrip("?")))
    return Response(render_template("error.html", title=status.phrase, detail=detail), status)


def _answer_hub_error(error: HubError) -> BaseResponse:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), None)
    if status is None:
        return _answer_unexpected(error)
    return answer_problem(status, str(error), error.errors if isinstance(error, Invalid) else ())


def _answer_http_error(error: HTTPException) -> BaseResponse:
    if error.response is not None or error.code is None or error.code < HTTPStatus.BAD_REQUEST:
        return error.get_response()
    answer = answer_problem(HTTPStatus(error.code), error.description or "")
    for name, value in error.get_headers():
        if name not in {"Content-Type", "Location"}:
            answer.headers[name] = value
    return answer


def _answer_database_away(error: Exception) -> BaseResponse:
    log.warning("database_away", path=request.path, error=str(error).partition("\n")[0])
    answer = answer_problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "The database does not answer just now. Nothing is lost; try again in a moment."
    )
    answer.headers["Retry-After"] = "5"
    return answer


def _answer_unexpected(error: Exception) -> BaseResponse:
    log.error("request_failed", path=request.path, method=request.method, exc_info=error)
    return answer_problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "The hub failed to answer; the reason is in its log. Please try again."
    )
