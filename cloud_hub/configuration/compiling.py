"""Drafts through the compiler that the agent uses, with the custom profiles that they name put in."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.catalogue.service import find_offered
from cloud_hub.errors import Invalid
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.models import Controller
from protocol.control import ConfigOrder, Signed, encode_signed
from protocol.errors import InvalidSite, LimitExceeded
from protocol.profile import Profile
from protocol.site.compile import compile_site
from protocol.site.estimate import bus_load, find_tight
from protocol.site.plan import SitePlan
from protocol.site_config import SiteConfig

_WHERE = "the configuration"
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Compiled:
    """A configuration that the controller's compiler takes."""

    site: SiteConfig
    """With the custom profiles that it uses."""
    findings: dict[str, Any]


def site_document(site: SiteConfig) -> dict[str, Any]:
    """Return a configuration as the database keeps it: its revision is the row's, not the document's.

    Raises: Invalid for a number that JSON cannot hold.
    """
    document = site.model_copy(update={"revision": 0}).model_dump(mode="json", exclude_none=True)
    try:
        json.dumps(document, allow_nan=False)
    except ValueError:
        raise Invalid("a number of the configuration is infinite: put in a finite one") from None
    return document


def compile_draft(session: Session, controller: Controller, document: dict[str, Any]) -> Compiled:
    """Put in custom profiles, compile, and say what comes of it.

    Raises: Invalid in the words of the agent's own check.
    """
    written = SiteConfig.model_validate(document)
    site, used = _with_custom_profiles(session, controller, written)
    try:
        plan = compile_site(site, _WHERE)
    except InvalidSite as error:
        raise Invalid(str(error)) from error
    return Compiled(site, _findings(plan, used, _message_bytes(site)))


def _with_custom_profiles(
    session: Session, controller: Controller, site: SiteConfig
) -> tuple[SiteConfig, dict[str, dict[str, Any]]]:
    own = {profile.id for profile in site.profiles}
    wanted = {meter.profile for bus in site.buses for meter in bus.meters} - own
    lineage = session.scalars(select(Organisation.lineage).where(Organisation.id == controller.organisation_id)).one()
    offered = find_offered(session, lineage, wanted)
    profiles = tuple(Profile.model_validate(offered[slug].body) for slug in sorted(offered))
    used = {
        slug: {"custom_id": version.profile_id, "version": version.number, "hash": version.hash}
        for slug, version in sorted(offered.items())
    }
    return site.model_copy(update={"profiles": (*site.profiles, *profiles)}), used


def _message_bytes(site: SiteConfig) -> int:
    """Return what the order takes on the line.

    Raises: Invalid when that is more than a message may take.
    """
    order = ConfigOrder(site=site, issued_at_ms=0).model_dump_json(exclude_none=True)
    try:
        return len(encode_signed(Signed(body=order, key_id="0" * 16, signature=b"\0" * _SIGNATURE_BYTES)))
    except LimitExceeded as error:
        raise Invalid(f"{error}: spread the meters over two controllers, or name fewer own profiles") from error


def _findings(plan: SitePlan, used: dict[str, dict[str, Any]], message_bytes: int) -> dict[str, Any]:
    loads = [bus_load(bus) for bus in plan.buses]
    return {
        "meters": len(plan.meters),
        "points": sum(len(meter.points) for meter in plan.meters),
        "samples_per_day": round(sum(meter.readings_per_day for meter in plan.meters)),
        "buses": [
            {
                "id": load.plan.config.id,
                "cycle_s": round(load.cycle.expected_s, 3),
                "busy_share": round(load.expected_share, 4),
            }
            for load in loads
        ],
        "warnings": list(find_tight(plan)),
        "custom_profiles": used,
        "message_bytes": message_bytes,
    }
