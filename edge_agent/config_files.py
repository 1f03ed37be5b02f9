"""Read the files that people write, and say in one sentence what is wrong with them."""

import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge_agent.errors import SettingsError
from protocol.wording import fault_text, key_text


def read_toml(path: Path, *, remedy: str) -> dict[str, Any]:
    """Read a TOML file; `remedy` says what to do when it cannot be had.

    Raises: SettingsError.
    """
    values: dict[str, Any] = _read(path, "TOML", tomllib.loads, remedy)
    return values


def read_json(path: Path, *, remedy: str) -> dict[str, Any]:
    """Read a JSON file that holds an object; `remedy` says what to do when it cannot be had.

    Raises: SettingsError.
    """
    values = _read(path, "JSON", json.loads, remedy)
    if not isinstance(values, dict):
        raise SettingsError(f"{path} holds no JSON object; write one between braces")
    return values


def explain(
    path: Path,
    error: ValidationError,
    *,
    sources: Mapping[str, str] | None = None,
    known_keys: Iterable[str] = (),
) -> str:
    """Put the first fault of a validation into one sentence: file, key, value, remedy.

    `sources` names, for keys that did not come from the file, where they came from; `known_keys` are
    offered when a key is misspelt.
    """
    faults = error.errors(include_url=False)
    key = key_text(faults[0]["loc"])
    place = ": ".join(part for part in ((sources or {}).get(key, str(path)), key) if part)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{place}: {fault_text(faults[0], known_keys)}{more}"


def _read(path: Path, kind: str, parse: Callable[[str], Any], remedy: str) -> Any:  # noqa: ANN401 - as the file has it
    try:
        return parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path} does not exist: {remedy}") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}): {remedy}") from None
    except ValueError as error:  # both parsers' errors, and bytes that are no text
        raise SettingsError(f"{path} is not valid {kind}: {error}; correct that place") from None
