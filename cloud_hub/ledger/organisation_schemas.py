"""Shapes of how an organisation wants its energy counted, checked and kept."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from cloud_hub.energy.rules import EVERY_KIND
from cloud_hub.web.documents import Document
from cloud_hub.web.json_values import JsonObject

KeptDays = Annotated[int, Field(ge=1, le=36_500)]
Interval = Literal[300, 900, 1800, 3600]


class ValidationRule(Document):
    """What the organisation wants of one validation rule for one kind of meter, over the usual."""

    rule: Annotated[str, Field(min_length=1, max_length=40)]
    """Such as `spike`; the documentation of energy lists them."""
    meter_kind: Annotated[str, Field(min_length=1, max_length=40)] = EVERY_KIND
    """The category of the meters' profile, or `*` for all."""
    parameters: JsonObject


class SettingsOut(BaseModel):
    """How an organisation wants its energy counted, checked and kept."""

    interval_s: int
    """Length of an interval of the ledger, in seconds."""
    readings_kept_days: int | None
    """Null for ever, as in the next two."""
    ledger_kept_days: int | None
    audit_kept_days: int | None
    validation: list[ValidationRule]
    """Where it wants other than the usual."""


class SettingsEdit(Document):
    """What changes; what is left out stays."""

    interval_s: Interval | None = None
    """Another length lays the ledger out anew; what was known before stays in its history."""
    readings_kept_days: KeptDays | None = None
    """Null, when sent, keeps them for ever; so in the next two."""
    ledger_kept_days: KeptDays | None = None
    audit_kept_days: KeptDays | None = None
    validation: Annotated[list[ValidationRule], Field(max_length=200)] | None = None
    """All that it wants over the usual; what is not in the list goes back to the usual."""
