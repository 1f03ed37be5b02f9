"""The API's document, OpenAPI 3.1, made of the operations as they are declared: nothing in it is written twice."""

import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from cloud_hub.web.operations import Operation
from cloud_hub.web.problems import MEDIA_TYPE, PROBLEM_TYPES, ProblemType, problem_of

_PLACEHOLDER: Final = re.compile(r"<(?:(?P<converter>\w+):)?(?P<name>\w+)>")
_ID: Final = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
_NAME: Final = {"type": "string", "minLength": 1}
_REF: Final = "#/components/schemas/{model}"

_Key = tuple[Any, JsonSchemaMode]


def build_document(operations: Iterable[Operation], *, title: str, version: str, server: str = "/") -> dict[str, Any]:
    """Return the document of all operations but pages, as JSON can hold it."""
    described = sorted((one for one in operations if not one.is_page), key=lambda one: (one.rule, one.method))
    schemas, definitions = _schemas(described)
    paths: dict[str, Any] = {}
    for operation in described:
        address = _PLACEHOLDER.sub(r"{\g<name>}", operation.rule)
        paths.setdefault(address, {})[operation.method.lower()] = _describe(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": _ABOUT, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": server}],
        "tags": [{"name": tag} for tag in sorted({one.tag for one in described})],
        "paths": paths,
        "components": {
            "schemas": definitions | {"Problem": _PROBLEM},
            "responses": {kind.slug: _refusal(kind) for kind in PROBLEM_TYPES.values()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API token or an access token."},
                "session": {"type": "apiKey", "in": "cookie", "name": "meterhaul", "description": "A login's cookie."},
            },
        },
    }


def _schemas(operations: list[Operation]) -> tuple[dict[_Key, Any], dict[str, Any]]:
    wanted: dict[_Key, TypeAdapter[Any]] = {}
    for one in operations:
        if one.body is not None:
            wanted[one.body, "validation"] = TypeAdapter(one.body)
        if one.answer is not None:
            wanted[one.answer, "serialization"] = TypeAdapter(one.answer)
    generator = GenerateJsonSchema(ref_template=_REF)
    inputs = [(key, mode, adapter.core_schema) for (key, mode), adapter in wanted.items()]
    found, definitions = generator.generate_definitions(inputs)
    names = {str(name): _short_name(str(name)) for name in definitions}
    shown = _rename({str(name): schema for name, schema in definitions.items()}, names)
    # Generators name classes by titles: of two shapes of one name, they would drop one.
    return {key: _rename(schema, names) for key, schema in found.items()}, {
        names[name]: schema | {"title": names[name]} for name, schema in shown.items()
    }


def _short_name(name: str) -> str:
    """Name a shape for clients: of two of one name, each gets that of its slice before it."""
    parts = name.replace("-", "").rstrip("_").split("__")
    found = parts[0] if len(parts) == 1 else parts[1].title().replace("_", "") + parts[-1]
    return found.replace("_", "")


def _rename(schema: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON
    if isinstance(schema, dict):
        return {
            key: _REF.format(model=names[value.rpartition("/")[2]]) if key == "$ref" else _rename(value, names)
            for key, value in schema.items()
        }
    return [_rename(one, names) for one in schema] if isinstance(schema, list) else schema


def _describe(operation: Operation, schemas: Mapping[_Key, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.endpoint.replace(".", "_"),
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation), *_headers(operation)],
        "responses": dict(_responses(operation, schemas)),
        "x-permission": operation.permission,
    }
    if operation.description:
        described["description"] = operation.description
    if operation.body is not None:
        content = {"application/json": {"schema": schemas[operation.body, "validation"]}}
        described["requestBody"] = {"required": True, "content": content}
    if operation.permission != "public":
        described["security"] = [{"bearer": []}, {"session": []}]
    return described


def _path_parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    for found in _PLACEHOLDER.finditer(operation.rule):
        schema = _ID if found["converter"] == "id" else _NAME
        yield {"name": found["name"], "in": "path", "required": True, "schema": schema}


def _query_parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    if operation.query is None:
        return
    schema = operation.query.model_json_schema(ref_template=_REF)
    for name, one in schema.get("properties", {}).items():
        shown = {key: value for key, value in one.items() if key not in {"title", "description"}}
        yield {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": _inline(shown, schema.get("$defs", {})),
            **({"description": one["description"]} if "description" in one else {}),
        }


def _inline(schema: Any, definitions: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Put what a parameter refers to in its place: parameters are flat."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _inline(definitions[schema["$ref"].rpartition("/")[2]], definitions)
        return {key: _inline(value, definitions) for key, value in schema.items()}
    return [_inline(one, definitions) for one in schema] if isinstance(schema, list) else schema


def _headers(operation: Operation) -> Iterator[dict[str, Any]]:
    if operation.is_idempotent:
        yield _header("Idempotency-Key", "Draw one at random for each creation; a repetition answers the same.", 255)
    if operation.is_versioned and operation.method != "GET":
        yield {**_header("If-Match", "The ETag that you got with what you change.", 255), "required": True}


def _header(name: str, description: str, length: int) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": length}
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


def _responses(operation: Operation, schemas: Mapping[_Key, Any]) -> Iterator[tuple[str, Any]]:
    done: dict[str, Any] = {"description": operation.status.phrase}
    if operation.answer is not None or operation.media != ("application/json",):
        shape = None if operation.answer is None else schemas[operation.answer, "serialization"]
        done["content"] = {media: _content(media, shape) for media in operation.media}
    if operation.is_versioned:
        done["headers"] = {"ETag": {"schema": {"type": "string"}}}
    has_body = "content" in done
    yield (
        str((operation.status if has_body or operation.status != HTTPStatus.OK else HTTPStatus.NO_CONTENT).value),
        done,
    )
    if operation.is_versioned and operation.method == "GET":
        yield str(HTTPStatus.NOT_MODIFIED.value), {"description": "It is what If-None-Match names."}
    for status in sorted(_refusals(operation)):
        yield str(status.value), {"$ref": f"#/components/responses/{problem_of(status).slug}"}


def _content(media: str, shape: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Describe an answer of a media type; of bytes there is nothing that JSON Schema could say."""
    if media == "application/json":
        return {"schema": shape}
    return {"schema": {"type": "string"}} if media.startswith("text/") or media.endswith("xml") else {}


def _refusal(kind: ProblemType) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": kind.meaning, "content": content}


def _refusals(operation: Operation) -> set[HTTPStatus]:
    """Return the statuses with which an operation may refuse, by what it is."""
    refusals = {HTTPStatus.BAD_REQUEST, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
    refusals |= set(operation.problems)
    if operation.permission != "public":
        refusals |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
    if operation.names or operation.query is not None or operation.body is not None:
        refusals |= {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}
    if "<" in operation.rule:
        refusals |= {HTTPStatus.NOT_FOUND}
    if operation.query is not None or operation.is_idempotent:
        refusals |= {HTTPStatus.UNPROCESSABLE_ENTITY}
    if operation.body is not None:
        refusals |= {
            HTTPStatus.UNPROCESSABLE_ENTITY,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        }
    if operation.is_versioned and operation.method != "GET":
        refusals |= {HTTPStatus.PRECONDITION_FAILED, HTTPStatus.PRECONDITION_REQUIRED}
    return refusals


_ABOUT: Final = """Everything that the hub can do. Times are UTC, in ISO 8601; amounts of energy are exact decimals as text.

Lists answer `items` and `next_cursor`; send it as `cursor` for the next part. Refusals are problem details
(RFC 9457) whose `type` is stable. A thing that you may not see is a thing that does not exist (404).
A creation takes an `Idempotency-Key`; a change takes the `ETag` of what it changes as `If-Match`.
"""

_PROBLEM: Final = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "Stable; leads to its explanation."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, where, and how to mend it."},
        "request_id": {"type": "string", "description": "The name of the request in the hub's log and audit trail."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
