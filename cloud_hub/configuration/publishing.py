"""Revisions on their way to controllers: published, rolled back. Callers commit."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from cloud_hub.configuration import outbox
from cloud_hub.configuration.drafts import find_newest, lock_controller, note_deed, require_draft
from cloud_hub.configuration.models import ConfigurationState, SiteConfiguration
from cloud_hub.errors import Conflict
from cloud_hub.events.service import publish as publish_event
from cloud_hub.registry.models import Controller
from cloud_hub.registry.queries import get_controller
from protocol.control import ConfigOrder, config_hash
from protocol.site_config import SiteConfig

_REVISION_MAX = 2**40
"""A controller that says to be beyond is not believed."""


class NotValidated(Conflict):
    """Nobody has seen it through the compiler since it was last changed."""


class Outdated(Conflict):
    """Another revision was published since it was drafted."""


class NothingToRollBack(Conflict):
    """It is what was published last, or was never published."""


def publish_draft(session: Session, draft: SiteConfiguration, *, who: str) -> None:
    """Make a locked draft the next revision, and have it sent.

    Raises: NotADraft, NotValidated, Outdated.
    """
    require_draft(draft)
    if draft.state != ConfigurationState.VALIDATED:
        raise NotValidated(f"configuration {draft.id} was changed since it was validated: validate it, then publish it")
    lock_controller(session, draft.controller_id)
    newest = find_newest(session, draft.controller_id)
    if newest is not None and newest.id != draft.based_on:
        raise Outdated(
            f"revision {newest.revision} was published by {newest.published_by} since this was drafted: look at what "
            f"it changed, and save the draft with based_on = {newest.id}"
        )
    controller = get_controller(session, draft.controller_id)
    draft.revision, draft.state = _next_revision(controller, newest), ConfigurationState.PUBLISHED
    _send(session, controller, draft, newest, who=who, action="configuration_published")


def roll_back(session: Session, earlier: SiteConfiguration, *, note: str, who: str) -> SiteConfiguration:
    """Publish what an earlier revision said, as a new one.

    Raises: NothingToRollBack.
    """
    lock_controller(session, earlier.controller_id)
    newest = find_newest(session, earlier.controller_id)
    if earlier.revision is None or newest is None or newest.id == earlier.id:
        raise NothingToRollBack(
            f"configuration {earlier.id} is not an earlier revision of controller {earlier.controller_id!r}: "
            "roll back to one that was published before the last one"
        )
    controller = get_controller(session, earlier.controller_id)
    again = SiteConfiguration(
        controller_id=earlier.controller_id,
        state=ConfigurationState.PUBLISHED,
        revision=_next_revision(controller, newest),
        based_on=newest.id,
        rolls_back_to=earlier.id,
        note=note,
        site=earlier.site,
        resolved=earlier.resolved,
        findings=earlier.findings,
        validated_at=earlier.validated_at,
        validated_by=earlier.validated_by,
        created_by=who,
    )
    session.add(again)
    session.flush()
    if newest.state in {ConfigurationState.PUBLISHED, ConfigurationState.ACKNOWLEDGED}:
        newest.state = ConfigurationState.ROLLED_BACK
        newest.reason = f"{who} rolled back to revision {earlier.revision}, which is now revision {again.revision}"
        tell(session, controller, newest)
    _send(session, controller, again, newest, who=who, action="configuration_rolled_back")
    return again


def describe(controller: Controller, configuration: SiteConfiguration) -> dict[str, Any]:
    """Say for subscribers which configuration it is and how it stands."""
    return {
        "configuration": configuration.id,
        "controller": controller.id,
        "revision": configuration.revision,
        "state": str(configuration.state),
        "reason": configuration.reason,
    }


def _next_revision(controller: Controller, newest: SiteConfiguration | None) -> int:
    """Return a revision above all that were published, and above what the controller goes by, as its own file."""
    published = newest.revision if newest is not None and newest.revision is not None else 0
    said = ((controller.health or {}).get("configuration") or {}).get("revision")
    reported = said if isinstance(said, int) and 0 <= said < _REVISION_MAX else 0
    return max(published, reported) + 1


def _send(
    session: Session,
    controller: Controller,
    configuration: SiteConfiguration,
    newest: SiteConfiguration | None,
    *,
    who: str,
    action: str,
) -> None:
    now, revision = datetime.now(UTC), configuration.revision
    site = SiteConfig.model_validate({**(configuration.resolved or {}), "revision": revision})
    body = ConfigOrder(site=site, issued_at_ms=round(now.timestamp() * 1000)).model_dump_json(exclude_none=True)
    configuration.published_at, configuration.published_by = now, who
    configuration.hash = config_hash(body)
    session.flush()
    session.execute(
        update(SiteConfiguration)
        .where(
            SiteConfiguration.controller_id == controller.id,
            SiteConfiguration.state == ConfigurationState.PUBLISHED,
            SiteConfiguration.id != configuration.id,
        )
        .values(state=ConfigurationState.SUPERSEDED)
    )
    outbox.put_configuration(session, controller.id, configuration.id, body)
    detail = {
        "revision": revision,
        "hash": configuration.hash,
        "before": None if newest is None else newest.revision,
        "after": revision,
        "rolls_back_to": configuration.rolls_back_to,
    }
    note_deed(session, controller, configuration, action, who=who, detail=detail)
    tell(session, controller, configuration)


def tell(session: Session, controller: Controller, configuration: SiteConfiguration) -> None:
    """Tell subscribers how a configuration stands now."""
    publish_event(
        session,
        controller.organisation_id,
        site_id=controller.site_id,
        kind=f"configuration.{configuration.state}",
        subject=f"configuration:{configuration.id}",
        data=describe(controller, configuration),
    )
