"""Values whose shape somebody else knows: whatever JSON can hold, with plain numbers. Pure."""

import math
from decimal import Decimal
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field, JsonValue


def _plain(given: object) -> object:
    """Turn the exact decimals that a body's numbers are read as into plain numbers."""
    if isinstance(given, Decimal):
        number = float(given)
        if not math.isfinite(number):
            raise ValueError("is a number beyond all measure")
        return number
    if isinstance(given, dict):
        return {key: _plain(value) for key, value in given.items()}
    return [_plain(value) for value in given] if isinstance(given, list) else given


JsonObject: TypeAlias = Annotated[dict[str, JsonValue], BeforeValidator(_plain), Field(max_length=50)]
"""An object of whatever JSON can hold."""
