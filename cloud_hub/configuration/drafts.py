"""Drafts of configurations, one at a time for each controller: made, changed, validated. Callers commit."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Text, cast, func, literal, select
from sqlalchemy.orm import Session

from cloud_hub.audit.service import record
from cloud_hub.configuration.compiling import compile_draft, site_document
from cloud_hub.configuration.differences import differences
from cloud_hub.configuration.models import OPEN, ConfigurationState, SiteConfiguration
from cloud_hub.errors import Conflict, Invalid, NotFound
from cloud_hub.registry.models import Bus, Controller, Meter
from cloud_hub.registry.queries import get_controller
from cloud_hub.web.pagination import Page, Window, cut
from protocol.site_config import SiteConfig

_TOLD_MAX = 50
"""Differences that the audit trail holds; the revisions hold all."""
_LOCKS = 0x6D63
_GONE = ("replaced", "retired")
"""States of meters that are read no more."""


class UnknownConfiguration(NotFound):
    """No configuration has that id."""


class AnotherDraft(Conflict):
    """The controller has an open draft."""


class NotADraft(Conflict):
    """What is published is never changed."""


def list_configurations(session: Session, controller_id: str, window: Window) -> Page[SiteConfiguration]:
    """List a controller's revisions and its draft, the newest first."""
    query = select(SiteConfiguration).where(SiteConfiguration.controller_id == controller_id)
    if window.after is not None:
        query = query.where(SiteConfiguration.id < window.after_id)
    rows = session.scalars(query.order_by(SiteConfiguration.id.desc()).limit(window.limit + 1)).all()
    return cut(rows, window, lambda row: row.id)


def get_configuration(session: Session, configuration_id: int, *, lock: bool = False) -> SiteConfiguration:
    """Return a configuration; with `lock`, so that nobody else changes it meanwhile.

    Raises: UnknownConfiguration.
    """
    query = select(SiteConfiguration).where(SiteConfiguration.id == configuration_id)
    found = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if found is None:
        raise UnknownConfiguration(f"there is no configuration {configuration_id}")
    return found


def find_newest(session: Session, controller_id: str) -> SiteConfiguration | None:
    """Return what was last published for a controller."""
    query = select(SiteConfiguration).where(
        SiteConfiguration.controller_id == controller_id, SiteConfiguration.revision.is_not(None)
    )
    return session.scalars(query.order_by(SiteConfiguration.revision.desc()).limit(1)).one_or_none()


def lock_controller(session: Session, controller_id: str) -> None:
    """Let nobody else draft or publish for a controller until the transaction ends; what it says is still taken in."""
    session.execute(select(func.pg_advisory_xact_lock(_LOCKS, func.hashtext(cast(literal(controller_id), Text)))))


def create_draft(
    session: Session, controller_id: str, site: SiteConfig | None, *, note: str, who: str
) -> SiteConfiguration:
    """Begin a draft: with what is given, else with what was last published, else with what the registry knows.

    Raises: AnotherDraft; Invalid when there is nothing to begin with.
    """
    controller = get_controller(session, controller_id)
    lock_controller(session, controller_id)
    query = select(SiteConfiguration).where(
        SiteConfiguration.controller_id == controller_id, SiteConfiguration.revision.is_(None)
    )
    other = session.scalars(query).one_or_none()
    if other is not None:
        raise AnotherDraft(
            f"controller {controller_id!r} has the open draft {other.id} by {other.edited_by or other.created_by}: "
            "go on with it, or delete it"
        )
    newest = find_newest(session, controller_id)
    draft = SiteConfiguration(
        controller_id=controller_id,
        state=ConfigurationState.DRAFT,
        based_on=None if newest is None else newest.id,
        note=note,
        site=_beginning(session, controller, site, newest),
        created_by=who,
    )
    session.add(draft)
    session.flush()
    note_deed(session, controller, draft, "configuration_drafted", who=who, detail={"based_on": draft.based_on})
    return draft


def change_draft(
    session: Session,
    draft: SiteConfiguration,
    site: SiteConfig,
    *,
    note: str | None,
    based_on: int | None,
    who: str,
) -> None:
    """Change a locked draft; it has to be validated anew. `based_on` says that what it names was looked at.

    Raises: NotADraft; Invalid when `based_on` is no published revision of the controller.
    """
    require_draft(draft)
    before, draft.site = draft.site, site_document(site)
    if note is not None:
        draft.note = note
    if based_on is not None:
        base = get_configuration(session, based_on)
        if base.controller_id != draft.controller_id or base.revision is None:
            raise Invalid(
                f"based_on is {based_on}, which is no published revision of controller {draft.controller_id!r}"
            )
        draft.based_on = based_on
    draft.state = ConfigurationState.DRAFT
    draft.validated_at = draft.validated_by = draft.resolved = draft.findings = None
    draft.edited_at, draft.edited_by = datetime.now(UTC), who
    session.flush()
    controller = get_controller(session, draft.controller_id)
    changed = differences(before, draft.site)
    told = changed[:_TOLD_MAX]
    detail = {
        "changed": len(changed),
        "before": {one.path: one.before for one in told},
        "after": {one.path: one.after for one in told},
    }
    note_deed(session, controller, draft, "configuration_changed", who=who, detail=detail)


def discard_draft(session: Session, draft: SiteConfiguration, *, who: str) -> None:
    """Throw a locked draft away.

    Raises: NotADraft.
    """
    require_draft(draft)
    controller = get_controller(session, draft.controller_id)
    note_deed(session, controller, draft, "configuration_discarded", who=who, detail={"before": draft.site})
    session.delete(draft)
    session.flush()


def validate_draft(session: Session, draft: SiteConfiguration, *, who: str) -> None:
    """Put a locked draft through the compiler that its controller uses.

    Raises: NotADraft; Invalid in the words of the agent's own check, and the draft stays one.
    """
    require_draft(draft)
    controller = get_controller(session, draft.controller_id)
    compiled = compile_draft(session, controller, draft.site)
    draft.resolved, draft.findings = site_document(compiled.site), compiled.findings
    draft.state = ConfigurationState.VALIDATED
    draft.validated_at, draft.validated_by = datetime.now(UTC), who
    session.flush()
    detail = {"warnings": compiled.findings["warnings"]}
    note_deed(session, controller, draft, "configuration_validated", who=who, detail=detail)


def require_draft(configuration: SiteConfiguration) -> None:
    """Refuse what is published.

    Raises: NotADraft.
    """
    if configuration.state not in OPEN:
        raise NotADraft(
            f"configuration {configuration.id} is revision {configuration.revision} and published: make a draft, "
            "or roll back to it"
        )


def note_deed(
    session: Session,
    controller: Controller,
    configuration: SiteConfiguration,
    action: str,
    *,
    who: str,
    detail: dict[str, Any],
) -> None:
    """Write a deed into the audit trail."""
    detail = {"controller": controller.id, **detail}
    subject = f"configuration:{configuration.id}"
    record(session, controller.organisation_id, who=who, action=action, subject=subject, detail=detail)


def _beginning(
    session: Session, controller: Controller, site: SiteConfig | None, newest: SiteConfiguration | None
) -> dict[str, Any]:
    if site is not None:
        return site_document(site)
    if newest is not None:
        return newest.site
    return site_document(_from_registry(session, controller))


def _from_registry(session: Session, controller: Controller) -> SiteConfig:
    """Make a configuration of the buses and meters that are registered.

    Raises: Invalid when there are none, or what is registered is not enough.
    """
    meters: dict[int, list[dict[str, Any]]] = {}
    rows = session.scalars(
        select(Meter)
        .where(Meter.controller_id == controller.id, Meter.bus_id.is_not(None), Meter.state.not_in(_GONE))
        .order_by(Meter.id)
    )
    for meter in rows:
        unit = {} if meter.unit_id is None else {"unit_id": meter.unit_id}
        known = {"id": meter.slug, "profile": meter.profile, "label": meter.label, "period_s": meter.period_s}
        meters.setdefault(meter.bus_id or 0, []).append(known | unit)
    buses = session.scalars(select(Bus).where(Bus.controller_id == controller.id).order_by(Bus.id))
    lines = [{**bus.line, "id": bus.slug, "meters": meters[bus.id]} for bus in buses if bus.id in meters]
    if not lines:
        raise Invalid(
            f"nothing was published for controller {controller.id!r}, and the registry knows no meters on its buses: "
            "send the configuration as 'site'"
        )
    try:
        return SiteConfig.model_validate({"buses": lines})
    except ValueError as error:
        raise Invalid(f"what the registry knows makes no configuration ({error}): send one as 'site'") from error
