"""Names of sites, controllers, meters and points; all share one rule, so that they fit topics, files and URLs."""

import re
from typing import Annotated

from pydantic import AfterValidator

from protocol.errors import InvalidIdentifier

IDENTIFIER_LENGTH_MAX = 64
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?")
_POINT = re.compile(r"[a-z][a-z0-9_]*")

STREAM_ID_BYTES = 16
MANIFEST_HASH_BYTES = 16


def parse_slug(text: str) -> str:
    """Check a site, controller, bus, meter or profile id and return it.

    Raises: InvalidIdentifier.
    """
    if len(text) > IDENTIFIER_LENGTH_MAX or not _SLUG.fullmatch(text):
        message = (
            f"{text!r} is not a valid id: use 1 to {IDENTIFIER_LENGTH_MAX} lower-case letters, digits, "
            "'.', '_' or '-', beginning and ending with a letter or digit"
        )
        raise InvalidIdentifier(message)
    return text


def parse_point_name(text: str) -> str:
    """Check a point name such as `voltage_l1_n` and return it.

    Raises: InvalidIdentifier.
    """
    if len(text) > IDENTIFIER_LENGTH_MAX or not _POINT.fullmatch(text):
        message = (
            f"{text!r} is not a valid point name: use 1 to {IDENTIFIER_LENGTH_MAX} lower-case letters, "
            "digits or '_', beginning with a letter"
        )
        raise InvalidIdentifier(message)
    return text


SiteId = Annotated[str, AfterValidator(parse_slug)]
ControllerId = Annotated[str, AfterValidator(parse_slug)]
BusId = Annotated[str, AfterValidator(parse_slug)]
MeterId = Annotated[str, AfterValidator(parse_slug)]
ProfileId = Annotated[str, AfterValidator(parse_slug)]
PointName = Annotated[str, AfterValidator(parse_point_name)]
