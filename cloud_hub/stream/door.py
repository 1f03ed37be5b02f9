"""Who may come in: asked of the web application itself, so that a stream accepts exactly what the web accepts."""

import json
import sys
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from typing import Any

from flask import Flask
from werkzeug.wrappers import Response

from cloud_hub.stream.ticket import TICKETS, Ticket

Scope = dict[str, Any]
"""What ASGI says of a request."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer instead of a stream."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Door:
    """Asks the web application of every request; one that opens a stream gets a ticket from its route."""

    def __init__(self, app: Flask) -> None:
        """Ask `app`, which has the stream's route."""
        self._app = app

    def ask(self, request: Scope) -> Ticket | Refusal:
        """Say whether a request may have a stream; blocks for as long as the web takes to answer."""
        tickets: list[Ticket] = []
        environ = _environ(request) | {TICKETS: tickets}
        response = Response.from_app(self._app, environ)
        if tickets and response.status_code < HTTPStatus.BAD_REQUEST:
            return tickets[0]
        headers = tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers)
        return Refusal(response.status_code, headers, response.get_data())


def refuse(status: HTTPStatus, detail: str, **headers: str) -> Refusal:
    """Write a refusal as the API does."""
    body = json.dumps({"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail})
    given = {"content-type": "application/problem+json", "cache-control": "no-store", **headers}
    return Refusal(
        status, tuple((name.replace("_", "-").encode(), value.encode()) for name, value in given.items()), body.encode()
    )


def _environ(request: Scope) -> dict[str, Any]:
    """Write what ASGI says as WSGI says it (PEP 3333); the body of a GET is nothing."""
    host, port = request.get("server") or ("localhost", 80)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": request["path"].encode().decode("latin-1"),
        "QUERY_STRING": request["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{request['http_version']}",
        "REMOTE_ADDR": (request.get("client") or ("", 0))[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request["scheme"],
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in request["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        if "_" in name.decode("latin-1") or key in {"CONTENT_TYPE", "CONTENT_LENGTH", "TRANSFER_ENCODING"}:
            continue  # an underscore would let one header pass for another
        key, text = f"HTTP_{key}", value.decode("latin-1")
        environ[key] = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}" if key in environ else text
    return environ
