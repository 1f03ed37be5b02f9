"""Shapes of requests and answers about broker logins."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from cloud_hub.access.subjects import Names
from cloud_hub.web.documents import Document
from cloud_hub.web.pagination import LIMIT_DEFAULT, LIMIT_MAX
from protocol.identifiers import IDENTIFIER_LENGTH_MAX


class SubscribersQuery(Document):
    """Which part of the list is wanted."""

    limit: int = Field(LIMIT_DEFAULT, ge=1, le=LIMIT_MAX)
    cursor: str | None = Field(None, max_length=200)


class SubscriberIn(Document):
    """A login to be made."""

    name: str = Field(min_length=1, max_length=IDENTIFIER_LENGTH_MAX)
    """Of lower-case letters, digits, `.`, `_` and `-`."""
    service_id: Annotated[int, Names("service"), Field(ge=1, lt=2**63)]
    sparkplug: bool = False
    """Whether it reads the organisation's tree in Sparkplug B too."""


class SubscriberOut(BaseModel):
    """A login as it is."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    username: str
    """What the client says to the broker as its user name; it takes no other client id."""
    service_id: int = Field(validation_alias="user_id")
    sparkplug: bool = Field(validation_alias="is_sparkplug")
    created_at: datetime
    rotated_at: datetime | None


class NewSubscriberOut(SubscriberOut):
    """A login with its password, which is shown this once."""

    password: str
    filters: list[str]
    """What it may subscribe to, for its own organisation."""
