"""Requests made from the route map alone: a valid example of every operation, naming one tenant's things."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from factories import make_profile
from pydantic import BaseModel, TypeAdapter
from tenants import Tenant

from cloud_hub.access.subjects import names_in
from cloud_hub.web.operations import Operation

_PLACEHOLDER = re.compile(r"<(?:\w+:)?(?P<name>\w+)>")
_FORMATS = {
    "date": "2026-03-01",
    "date-time": "2026-03-01T12:00:00Z",
    "email": "somebody@example.org",
    "uri": "https://example.org/hook",
}
_WORDS = {
    "email": "somebody@example.org",
    "url": "https://example.org/hook",
    "time_zone": "Europe/Berlin",
    "currency": "EUR",
    "from": "2026-03-01",
    "to": "2026-03-01",
    "at": "2026-03-01T12:00:00Z",
    "profile": "eastron-sdm630",
    "role": "viewer",
}
"""What a text under this name may be, where its schema does not say."""


@dataclass(frozen=True)
class Example:
    """One request."""

    method: str
    path: str
    query: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Path and query."""
        return f"{self.path}?{urlencode(self.query, doseq=True)}" if self.query else self.path


def make_example(operation: Operation, own: Tenant, named: Tenant, *, place: str = "path") -> Example:
    """Make a request whose things are all `own`'s but those in `place` (path, query or body), which are `named`'s."""
    tenants = {"path": own, "query": own, "body": own} | {place: named}
    path = _PLACEHOLDER.sub(lambda found: str(_path_value(operation, found["name"], tenants["path"])), operation.rule)
    query = {} if operation.query is None else _fill(operation.query, operation.endpoint, tenants["query"])
    body = None if operation.body is None else _fill(operation.body, operation.endpoint, tenants["body"])
    headers = {"If-Match": '"something"'} if operation.is_versioned and operation.method != "GET" else {}
    return Example(operation.method, path, query, body, headers)


def places_of(operation: Operation) -> list[str]:
    """Return where an operation can name things."""
    has_own = any(f":{name}>" in operation.rule for name in OWN if name not in operation.names)
    return [
        *(["path"] if operation.names or has_own else []),
        *(["query"] if names_in(operation.query) else []),
        *(["body"] if names_in(operation.body) else []),
    ]


def key_of(tenant: Tenant, kind: str) -> Any:
    """Return how a request names a tenant's thing of a kind."""
    slugs = {"organisation": "organisations#slug", "site": "sites#slug"}
    return tenant.keys[slugs.get(kind) or KEYS[kind]]


KEYS: Mapping[str, str] = {
    "controller": "controllers",
    "meter": "meters",
    "point": "points",
    "group": "meter_groups",
    "exchange": "meter_exchanges",
    "edit": "ledger_edits",
    "suspect_span": "suspect_spans",
    "tariff": "tariffs",
    "tariff_version": "tariff_versions",
    "tariff_assignment": "tariff_assignments",
    "price_series": "price_series",
    "emission_series": "emission_series",
    "bus": "buses",
    "command": "commands",
    "configuration": "configurations",
    "invitation": "invitations",
    "member": "memberships",
    "meter_profile": "meter_profiles",
    "person": "people_creations",
    "role": "roles",
    "service": "services",
    "service_token": "service_tokens",
    "subscriber": "subscriber_logins",
    "webhook": "webhooks",
    "webhook_delivery": "webhook_deliveries",
}
"""Tables by the kinds of things that requests name by a primary key."""

PLAIN: Mapping[str, Any] = {
    "what": "readings",
    "action": "edit",
    "token": "no-such-token",
    "profile": "eastron-sdm630",
    "number": 1,
}
"""Values of placeholders that name nothing of anybody's."""

OWN: Mapping[str, str] = {"session_id": "login_sessions", "token_id": "tokens"}
"""Tables of placeholders that name what is one person's."""

_PROFILE = json.loads(make_profile(id="example").model_dump_json())
BODIES: Mapping[str, Any] = {
    "catalogue_api.create_profile": {"profile": _PROFILE},
    "catalogue_api.change_profile": {"profile": _PROFILE},
    "configuration_api.change_configuration": {
        "site": {
            "buses": [{"id": "bus", "host": "192.0.2.1", "meters": [{"id": "meter", "profile": "eastron-sdm630"}]}]
        }
    },
    "controllers_api.edit_controller": {"label": "New"},
    "controllers_api.put_bus": {"id": "bus", "host": "192.0.2.1"},
    "registry_api.edit_point": {"label": "New"},
    "sites_api.edit_site": {"name": "New"},
    "meter_exchange_api.post_meter_exchange": {"registers": [{"point_id": 1, "closing": "2", "opening": "1"}]},
    "registry_api.step_in_meter_life": {"to": "replaced"},
}
"""Bodies of operations whose rules an example made of the schema alone does not meet, by endpoint."""


def _path_value(operation: Operation, name: str, tenant: Tenant) -> Any:
    if name in operation.names:
        return key_of(tenant, operation.names[name])
    return tenant.keys[OWN[name]] if name in OWN else PLAIN[name]


def _fill(shape: type[BaseModel], endpoint: str, tenant: Tenant) -> Any:
    schema = TypeAdapter(shape).json_schema()
    definitions = schema.get("$defs", {})
    made = _make(schema, definitions, "") | BODIES.get(endpoint, {})
    for path, mark in names_in(shape):
        _put(made, schema, definitions, path.split("."), key_of(tenant, mark.kind))
    return made


def _put(made: Any, schema: Any, definitions: Mapping[str, Any], path: list[str], key: Any) -> None:
    """Set what stands at a path, through lists too; a part that the example left out stays out."""
    for form in _forms(schema, definitions):
        if isinstance(made, list) and "items" in form:
            for one in made:
                _put(one, form["items"], definitions, path, key)
        elif isinstance(made, dict) and path[0] in form.get("properties", {}):
            inner = form["properties"][path[0]]
            if len(path) > 1:
                _put(made.get(path[0]), inner, definitions, path[1:], key)
            else:
                is_list = any(one.get("type") == "array" for one in _forms(inner, definitions))
                made[path[0]] = [key] if is_list else key


def _forms(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what a schema may be, references and alternatives resolved."""
    if "$ref" in schema:
        yield from _forms(definitions[schema["$ref"].rpartition("/")[2]], definitions)
        return
    choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    for one in choices:
        yield from _forms(one, definitions)
    if not choices:
        yield schema


def _make(schema: Mapping[str, Any], definitions: Mapping[str, Any], key: str) -> Any:
    """Make the least that a schema allows; `key` is the name under which it stands."""
    for word in ("const", "default"):
        if schema.get(word) is not None:
            return schema[word]
    form = next(iter(_forms(schema, definitions)))
    fixed = (
        [form["const"]]
        if "const" in form
        else [*(() if "format" in form else form.get("examples", ())), *form.get("enum", ())]
    )
    if fixed:
        return fixed[0]
    makers: dict[str, Callable[[], Any]] = {
        "object": lambda: {
            name: _make(form["properties"][name], definitions, name) for name in form.get("required", ())
        },
        "array": lambda: [_make(form["items"], definitions, key)] * max(1, form.get("minItems", 0)),
        "integer": lambda: max(form.get("minimum", 1), form.get("exclusiveMinimum", 0) + 1, 1),
        "boolean": lambda: True,
        "null": lambda: None,
    }
    makers["number"] = makers["integer"]
    maker = makers.get(form.get("type", ""))
    return _text(form, key) if maker is None else maker()


def _text(schema: Mapping[str, Any], key: str) -> str:
    found = _FORMATS.get(schema.get("format", "")) or _WORDS.get(key, "example")
    if key in {"to", "end", "until"}:
        found = found.replace("2026-03-01", "2026-03-02")
    return found.ljust(schema.get("minLength", 0), "x")
