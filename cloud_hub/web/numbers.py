"""Exact decimals in answers."""

from decimal import Decimal
from typing import Annotated

from pydantic import PlainSerializer

ExactOut = Annotated[Decimal, PlainSerializer(lambda number: format(number, "f"), return_type=str)]
"""An exact decimal, written as a text without exponent: a JSON number would become a float on its way."""
