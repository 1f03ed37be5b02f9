"""The API's document, the same as a page for people, and what each kind of refusal means. All of it is public."""

from importlib.metadata import version
from typing import Any

from flask import Response, current_app, json, render_template
from flask.sansio.app import App

from cloud_hub.access import routes
from cloud_hub.access.guard import PUBLIC
from cloud_hub.openapi.reading import list_chapters
from cloud_hub.web.openapi import build_document
from cloud_hub.web.operations import operations_of
from cloud_hub.web.problems import PROBLEM_TYPES

TITLE = "Meterhaul"
_EXTENSION = "openapi_document"

api = routes.Routes("openapi", prefix="/api/v1", is_page=True)


@api.get("/openapi.json", permission=PUBLIC)
def document() -> Response:
    """Return the API's OpenAPI 3.1 document."""
    return Response(json.dumps(document_of(current_app)), content_type="application/json")


@api.get("/docs", permission=PUBLIC)
def page() -> str:
    """Show the API's operations, with their parameters and shapes."""
    return render_template("openapi/docs.html", chapters=list_chapters(document_of(current_app)))


@api.get("/problems", permission=PUBLIC)
def problems() -> str:
    """Show what each type of problem means."""
    return render_template("openapi/problems.html", problems=PROBLEM_TYPES.values())


def document_of(app: App) -> dict[str, Any]:
    """Return an application's document; it is made once."""
    known: dict[str, Any] | None = app.extensions.get(_EXTENSION)
    if known is None:
        known = build_document(operations_of(app).values(), title=TITLE, version=version("meterhaul"))
        app.extensions[_EXTENSION] = known
    return known
