"""Refusals of one of many things, which say where in the request it stands."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from cloud_hub.errors import Conflict, HubError, Invalid, NotFound

_FIELD = re.compile(r"([a-z_]+): ")


@contextmanager
def at(*keys: str | int) -> Iterator[None]:
    """Let a refusal inside the block say that it is about what stands under these keys of the body."""
    try:
        yield
    except (Invalid, Conflict, NotFound) as error:
        raise _placed(error, keys) from error


def _placed(error: HubError, keys: tuple[str | int, ...]) -> HubError:
    said = str(error)
    message = ": ".join((*map(str, keys), said))
    if not isinstance(error, Invalid):
        return type(error)(message)
    prefix = "".join(f"/{key}" for key in keys)
    field = _FIELD.match(said)
    own = error.errors or [(f"/{field[1]}" if field else "", said[field.end() :] if field else said)]
    return type(error)(message, [(prefix + pointer, what) for pointer, what in own])
