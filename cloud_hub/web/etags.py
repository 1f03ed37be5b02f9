"""Edits of what one has seen: an ETag with every single thing, and If-Match on its way back."""

from hashlib import sha256

from flask import request
from pydantic import BaseModel
from werkzeug.exceptions import PreconditionRequired

from cloud_hub.errors import HubError


class ChangedMeanwhile(HubError):
    """It is no longer what the person who changes it has seen."""


def etag_of(shape: BaseModel) -> str:
    """Return the strong validator of what is answered, without its quotes."""
    return sha256(shape.model_dump_json(by_alias=True).encode()).hexdigest()[:32]


def require_match(current: BaseModel) -> None:
    """Refuse a change of something that is by now another than the request's If-Match names.

    `current` is what GET would answer, read under a lock. Raises: PreconditionRequired, ChangedMeanwhile.
    """
    if not request.if_match:
        raise PreconditionRequired("Send If-Match with the ETag that you got with it, so that no change is lost.")
    if not request.if_match.contains(etag_of(current)):
        raise ChangedMeanwhile("it was changed meanwhile: get it again, and repeat what you want to change")
