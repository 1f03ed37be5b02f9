"""Make a definition of this package from a model file of the SunSpec Alliance.

    python -m protocol.sunspec.compact < model_103.json > protocol/sunspec/models/model_103.json

The input is a file of https://github.com/sunspec/models, folder `json/`. Texts that explain (desc, detail,
notes, standards) are left out: these files travel to controllers over cellular lines.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from protocol.sunspec.definitions import ModelDefinition


def compact(text: str) -> str:
    """Rewrite a model file with one point per line and only what is needed to read it.

    Raises: ValueError for a file that is no model, or one whose groups stand inside groups.
    """
    given = json.loads(text)
    group = given["group"]
    if any(inner.get("groups") for inner in group.get("groups", [])):
        message = f"model {given['id']} has groups inside groups, which are not supported"
        raise ValueError(message)
    made = "\n".join(_lines(given["id"], group)) + "\n"
    ModelDefinition.model_validate_json(made)
    return made


def _lines(model_id: int, group: Mapping[str, Any]) -> Iterator[str]:
    yield f'{{"id": {model_id}, "label": {json.dumps(group.get("label", ""))},'
    yield f'"points": [\n{_points(group)}\n],'
    yield f'"groups": [{", ".join(_group(inner) for inner in group.get("groups", []))}]}}'


def _group(group: Mapping[str, Any]) -> str:
    head = f'"name": {json.dumps(group["name"])}, "count": {json.dumps(group.get("count", 1))}'
    return f'{{{head}, "points": [\n{_points(group)}\n]}}'


def _points(group: Mapping[str, Any]) -> str:
    return ",\n".join(json.dumps(_kept(point)) for point in group["points"])


def _kept(point: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: point[key] for key in ("name", "type", "size", "sf", "units", "label", "access") if key in point}
    if "units" in kept:
        kept["units"] = kept["units"].strip()
    if point.get("mandatory") == "M":
        kept["mandatory"] = True
    named = {str(symbol["value"]): symbol["name"] for symbol in point.get("symbols", [])}
    if symbols := {value: name for value, name in named.items() if not name.upper().startswith("RESERVED")}:
        kept["symbols"] = symbols
    return kept


if __name__ == "__main__":
    sys.stdout.write(compact(sys.stdin.read()))
