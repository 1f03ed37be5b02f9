"""Refusals as problem details (RFC 9457). The types are part of the API: they are added to, never renamed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from flask import Response, g

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of refusal."""

    slug: str
    status: HTTPStatus
    meaning: str
    """One sentence for the API's documentation."""

    @property
    def uri(self) -> str:
        """The type's identifier, relative to the hub; it also leads to its explanation."""
        return f"/api/v1/problems#{self.slug}"


PROBLEM_TYPES: Final = {
    kind.slug: kind
    for kind in (
        ProblemType("bad-request", HTTPStatus.BAD_REQUEST, "The request cannot be understood."),
        ProblemType("unauthorized", HTTPStatus.UNAUTHORIZED, "Nobody is logged in, or the token is not valid."),
        ProblemType("forbidden", HTTPStatus.FORBIDDEN, "You see it, and may not do this to it."),
        ProblemType("not-found", HTTPStatus.NOT_FOUND, "There is no such thing that you may know of."),
        ProblemType("method-not-allowed", HTTPStatus.METHOD_NOT_ALLOWED, "This address knows no such method."),
        ProblemType("not-acceptable", HTTPStatus.NOT_ACCEPTABLE, "It cannot be answered in the format asked for."),
        ProblemType("conflict", HTTPStatus.CONFLICT, "It contradicts what is there already."),
        ProblemType("gone", HTTPStatus.GONE, "It was there and is no more."),
        ProblemType("changed-meanwhile", HTTPStatus.PRECONDITION_FAILED, "It is no longer what If-Match names."),
        ProblemType("too-large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is larger than the hub takes."),
        ProblemType("unsupported-media-type", HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body is not in JSON."),
        ProblemType("invalid", HTTPStatus.UNPROCESSABLE_ENTITY, "A parameter or a key of the body breaks a rule."),
        ProblemType("precondition-required", HTTPStatus.PRECONDITION_REQUIRED, "A change takes If-Match."),
        ProblemType("too-many-requests", HTTPStatus.TOO_MANY_REQUESTS, "Wait as long as Retry-After says."),
        ProblemType("failed", HTTPStatus.INTERNAL_SERVER_ERROR, "The hub is at fault; its log has the reason."),
        ProblemType("away", HTTPStatus.SERVICE_UNAVAILABLE, "The database does not answer just now."),
    )
}
_BY_STATUS: Final = {kind.status: kind for kind in PROBLEM_TYPES.values()}


def problem_of(status: HTTPStatus) -> ProblemType:
    """Return the type that stands for a status."""
    return _BY_STATUS.get(
        status, PROBLEM_TYPES["bad-request" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "failed"]
    )


def answer_problem_json(status: HTTPStatus, detail: str, errors: Sequence[tuple[str, str]] = ()) -> Response:
    """Answer a refusal; `errors` are JSON pointers or parameters, each with what is wrong there."""
    body: dict[str, Any] = {
        "type": problem_of(status).uri,
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
    }
    if "request_id" in g:
        body["request_id"] = g.request_id
    if errors:
        body["errors"] = [{"pointer": where, "detail": said} for where, said in errors]
    return Response(json.dumps(body), status, content_type=MEDIA_TYPE)
