"""The API's document, arranged for people to read: chapters of operations, each with its fields as lines. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, or a key of a body or an answer."""

    name: str
    type: str
    is_required: bool
    about: str
    depth: int = 0
    """How deep it stands in others."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    permission: str
    parameters: list[Field]
    body: list[Field]
    answer: list[Field]
    status: str
    media: list[str]
    refusals: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Chapter:
    """The operations of one subject."""

    name: str
    entries: list[Entry]


def list_chapters(document: Mapping[str, Any]) -> list[Chapter]:
    """Arrange a document by its tags."""
    chapters: dict[str, list[Entry]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            chapters[operation["tags"][0]].append(_entry(document, path, method, operation))
    return [Chapter(name, entries) for name, entries in chapters.items()]


def _entry(document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> Entry:
    status, done = next(iter(operation["responses"].items()))
    content = done.get("content", {})
    json_answer = content.get("application/json", {}).get("schema", {})
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return Entry(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        description=operation.get("description", ""),
        permission=operation["x-permission"],
        parameters=[
            Field(one["name"], _type(document, one["schema"]), one["required"], one.get("description", one["in"]))
            for one in operation["parameters"]
        ],
        body=list(_fields(document, body, 0, ())),
        answer=list(_fields(document, json_answer, 0, ())),
        status=f"{status} {HTTPStatus(int(status)).phrase}",
        media=list(content),
        refusals=[
            (code, document["components"]["responses"][said["$ref"].rpartition("/")[2]]["description"])
            for code, said in operation["responses"].items()
            if "$ref" in said
        ],
    )


def _fields(
    document: Mapping[str, Any], schema: Mapping[str, Any], depth: int, above: tuple[str, ...]
) -> Iterator[Field]:
    """Yield the keys of a schema and of those within it; one that holds itself is shown once."""
    for name, found in _objects(document, schema):
        if name in above:
            continue
        for key, inner in found.get("properties", {}).items():
            about = inner.get("description", "")
            yield Field(key, _type(document, inner), key in found.get("required", ()), about, depth)
            yield from _fields(document, inner, depth + 1, (*above, name))


def _objects(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        found = document["components"]["schemas"][name]
        if "properties" in found:
            yield name, found
        else:
            yield from _objects(document, found)
    elif "properties" in schema:
        yield schema.get("title", ""), schema
    else:
        inside = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
        for one in (*inside, schema.get("items", {}), schema.get("additionalProperties", {})):
            if isinstance(one, dict) and one:
                yield from _objects(document, one)


def _type(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        found = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return "object" if "properties" in found else _type(document, found)
    if "enum" in schema:
        return " | ".join(str(one) for one in schema["enum"])
    if "const" in schema:
        return repr(schema["const"])
    choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    if choices:
        return " or ".join(dict.fromkeys(_type(document, one) for one in choices))
    if schema.get("type") == "array":
        return f"list of {_type(document, schema.get('items', {}))}"
    named = str(schema.get("type", "any"))
    return f"{named} ({schema['format']})" if "format" in schema else named
