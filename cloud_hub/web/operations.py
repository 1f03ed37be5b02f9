"""What each route of the API is, as data: the one source of its checks, of its documentation and of its tests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from flask.sansio.app import App
from pydantic import BaseModel

_EXTENSION = "operations"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path."""

    method: str
    rule: str
    """The path below the application's root, with Flask's placeholders."""
    endpoint: str
    summary: str
    """The first line of the handler's docstring."""
    description: str
    permission: str
    """A word of `Permission`, or `public` or `self`."""
    tag: str
    view: Callable[..., Any]
    """The handler without its guards."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Kinds of things by the path's parameters that name them."""
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    answer: Any = None
    """The pydantic shape of the answer; None for an answer without a body."""
    status: HTTPStatus = HTTPStatus.OK
    media: tuple[str, ...] = ("application/json",)
    """Media types of the answer."""
    is_page: bool = False
    """Whether it answers HTML, which the API's document leaves out."""
    is_idempotent: bool = False
    """Whether it takes an Idempotency-Key."""
    shows_secret: bool = False
    """Whether its answer holds a secret that is shown this once: no repetition gets it again."""
    is_versioned: bool = False
    """Whether it answers an ETag (GET) or demands one in If-Match (everything else)."""
    problems: tuple[HTTPStatus, ...] = ()
    """Refusals that are this operation's own, beside those that all have."""


def note_operation(app: App, operation: Operation) -> None:
    """Let the application know one of its operations."""
    app.extensions.setdefault(_EXTENSION, {})[operation.endpoint] = operation


def operations_of(app: App) -> dict[str, Operation]:
    """Return all operations by their endpoints."""
    found: dict[str, Operation] = app.extensions.get(_EXTENSION, {})
    return found
