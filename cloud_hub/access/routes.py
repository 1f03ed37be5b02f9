"""Routes with their guards. A route cannot be made without saying what it takes to use it.

A handler runs when somebody may do what it does to everything that the request names, in its path,
its query and its body; and it sees no more than where they may.
"""

from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from flask import Blueprint, Response, g, request
from flask.blueprints import BlueprintSetupState
from flask.sansio.app import App
from pydantic import BaseModel

from cloud_hub.access.actor import Actor
from cloud_hub.access.denials import note_denial, origin_of_request
from cloud_hub.access.guard import NotVisible, judge, narrow, require_actor
from cloud_hub.access.permissions import Permission
from cloud_hub.access.subjects import Named, collect, is_declared
from cloud_hub.audit.origin import note_origin
from cloud_hub.errors import Forbidden
from cloud_hub.idempotency.service import HEADER, answer_once
from cloud_hub.web.database import request_session
from cloud_hub.web.etags import etag_of
from cloud_hub.web.json import answer_json
from cloud_hub.web.operations import Operation, note_operation
from cloud_hub.web.requests import read_body, read_query

View = Callable[..., Any]
Found = TypeVar("Found", bound=View)


class Routes:
    """The routes of one slice; `blueprint` is what the application registers.

    A placeholder such as `<id:meter_id>` or `<site>` names a thing of the kind `meter` or `site`; `plain`
    lists those that name nothing.
    """

    def __init__(self, name: str, *, tag: str = "", prefix: str = "", is_page: bool = False) -> None:
        """Begin an empty set of routes; `tag` is its heading in the API's document."""
        self.blueprint = Blueprint(name, __name__, url_prefix=prefix or None)
        self._tag, self._is_page = tag, is_page

    def get(self, rule: str, *, permission: Permission | str, **options: Any) -> Callable[[Found], Found]:  # noqa: ANN401 - see `_route`
        """Declare a route that reads."""
        return self._route("GET", rule, permission, **options)

    def post(self, rule: str, *, permission: Permission | str, **options: Any) -> Callable[[Found], Found]:  # noqa: ANN401
        """Declare a route that creates or does something."""
        return self._route("POST", rule, permission, **options)

    def put(self, rule: str, *, permission: Permission | str, **options: Any) -> Callable[[Found], Found]:  # noqa: ANN401
        """Declare a route that replaces something."""
        return self._route("PUT", rule, permission, **options)

    def patch(self, rule: str, *, permission: Permission | str, **options: Any) -> Callable[[Found], Found]:  # noqa: ANN401
        """Declare a route that changes something."""
        return self._route("PATCH", rule, permission, **options)

    def delete(self, rule: str, *, permission: Permission | str, **options: Any) -> Callable[[Found], Found]:  # noqa: ANN401
        """Declare a route that removes something."""
        return self._route("DELETE", rule, permission, **options)

    def _route(
        self,
        method: str,
        rule: str,
        permission: Permission | str,
        *,
        endpoint: str = "",
        plain: tuple[str, ...] = (),
        names: Mapping[str, str] | None = None,
        **described: Any,  # noqa: ANN401 - fields of Operation
    ) -> Callable[[Found], Found]:
        def register(view: Found) -> Found:
            summary, _, description = (view.__doc__ or "").partition("\n")
            name = endpoint or view.__name__

            def make(state: BlueprintSetupState) -> None:
                path = (state.url_prefix or "") + rule
                operation = Operation(
                    method=method,
                    rule=path,
                    endpoint=f"{state.name_prefix}.{self.blueprint.name}.{name}".lstrip("."),
                    summary=summary.rstrip("."),
                    description=description.strip(),
                    permission=str(permission),
                    tag=self._tag,
                    view=view,
                    names=_kinds(rule, plain, names or {}),
                    is_page=self._is_page,
                    **described,
                )
                note_operation(state.app, operation)
                state.add_url_rule(rule, name, guarded(state.app, operation.endpoint), methods=[method])

            self.blueprint.record(make)
            return view

        return register


def api(name: str, *, tag: str) -> Routes:
    """Begin the routes of a slice under /api/v1."""
    return Routes(name, tag=tag, prefix="/api/v1")


def pages(name: str) -> Routes:
    """Begin the pages of a slice."""
    return Routes(name, is_page=True)


def current_actor() -> Actor:
    """Return who is asking. Only behind the login."""
    actor: Actor = g.actor
    return actor


def guarded(app: App, endpoint: str) -> View:
    """Wrap a handler: read what is sent, judge everything that it names, run, answer."""
    operations = app.extensions["operations"]

    def run(**path: Any) -> Any:  # noqa: ANN401 - what the handler answers
        operation: Operation = operations[endpoint]
        actor: Actor | None = g.get("actor")
        try:
            return _run(operation, path)
        except (NotVisible, Forbidden) as error:
            if actor is not None:
                request_session().rollback()
                note_denial(actor, operation.permission, error)
            raise

    return run


def _run(operation: Operation, path: dict[str, Any]) -> Any:  # noqa: ANN401 - as above
    actor = require_actor(operation.permission)
    named = [Named(kind, path[name], None, name) for name, kind in operation.names.items()]
    # What the path names is judged before anything is read, so that a stranger learns nothing of its shape.
    _judge(actor, operation, named)
    arguments, named = _read(operation)
    _judge(actor, operation, named)
    if actor is not None:
        narrow(request_session(), actor, operation.permission)
        note_origin(request_session(), origin_of_request(actor))
    return _once(actor, operation, lambda: _answer(operation, operation.view(**path, **arguments)))


def _once(actor: Actor | None, operation: Operation, answer: Callable[[], Any]) -> Any:  # noqa: ANN401 - what a handler answers
    key = request.headers.get(HEADER)
    if key is None or actor is None or not operation.is_idempotent:
        return answer()
    return answer_once(request_session(), actor.user_id, key, answer, keeps_answer=not operation.shows_secret)


def _judge(actor: Actor | None, operation: Operation, named: list[Named]) -> None:
    if actor is not None and named:
        judge(request_session(), actor, operation.permission, named)


def _read(operation: Operation) -> tuple[dict[str, Any], list[Named]]:
    arguments: dict[str, Any] = {}
    if operation.query is not None:
        arguments["query"] = read_query(operation.query)
    if operation.body is not None:
        arguments["body"] = read_body(operation.body)
    return arguments, [one for shape in arguments.values() for one in collect(shape)]


def _answer(operation: Operation, answer: Any) -> Any:  # noqa: ANN401 - what the handler answers
    if answer is None:
        return Response(status=HTTPStatus.NO_CONTENT)
    if isinstance(answer, BaseModel):
        response = answer_json(answer)
        response.status_code = operation.status
        if operation.is_versioned:
            response.set_etag(etag_of(answer))
            response.make_conditional(request)
        return response
    return answer


def _kinds(rule: str, plain: tuple[str, ...], given: Mapping[str, str]) -> dict[str, str]:
    found = {name: given.get(name, name.removesuffix("_id")) for name in placeholders(rule) if name not in plain}
    for name, kind in found.items():
        if not is_declared(kind):
            raise LookupError(f"{rule}: nobody declared what <{name}> names; see cloud_hub.access.subjects")
    return found


def placeholders(rule: str) -> Iterator[str]:
    """Yield the names of a rule's placeholders."""
    for is_dynamic, name in ((part.partition(">")[1], part.partition(">")[0]) for part in rule.split("<")[1:]):
        if is_dynamic:
            yield name.rpartition(":")[2]
