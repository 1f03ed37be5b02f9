"""How an organisation wants its energy counted, checked and kept. Callers commit."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud_hub.audit.service import record
from cloud_hub.energy.rules import Override, check_override
from cloud_hub.errors import Invalid, NotFound
from cloud_hub.ledger.models import ValidationSetting
from cloud_hub.ledger.rebuild import rebuild_meters
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.models import Meter, Site

INTERVALS_S = (300, 900, 1800, 3600)
KEPT_DAYS = ("readings_kept_days", "ledger_kept_days", "audit_kept_days")

_MARK = text("""
    INSERT INTO ledger_dirty (meter_id, from_at, to_at)
    SELECT m.id, min(d.start_at), max(d.end_at)
    FROM ledger_days d JOIN points p ON p.id = d.point_id JOIN meters m ON m.id = p.meter_id
    JOIN sites s ON s.id = m.site_id
    WHERE s.organisation_id = :organisation GROUP BY m.id
""")


class UnknownOrganisation(NotFound):
    """No organisation has that slug."""


def get_organisation(session: Session, slug: str) -> Organisation:
    """Return the organisation of that slug, its row locked.

    Raises: UnknownOrganisation.
    """
    found = session.scalars(select(Organisation).where(Organisation.slug == slug).with_for_update()).one_or_none()
    if found is None:
        raise UnknownOrganisation(f"there is no organisation {slug!r}")
    return found


def change_interval(session: Session, organisation: Organisation, interval_s: int, *, who: str) -> None:
    """Count in intervals of another length; the ledger is laid out anew, what was known before stays in its history.

    Raises: Invalid for a length that no ledger has.
    """
    if interval_s not in INTERVALS_S:
        raise Invalid(f"an interval has 5, 15, 30 or 60 minutes, not {interval_s / 60:g}")
    if interval_s == organisation.interval_s:
        return
    _note(session, organisation, who, "interval_changed", {"before_s": organisation.interval_s, "now_s": interval_s})
    organisation.interval_s = interval_s
    meters = select(Meter.id).join(Site, Site.id == Meter.site_id).where(Site.organisation_id == organisation.id)
    rebuild_meters(session, session.scalars(meters).all())


def change_retention(session: Session, organisation: Organisation, kept: Mapping[str, int | None], *, who: str) -> None:
    """Keep things for so many days, None for ever; `kept` by the names of `KEPT_DAYS`.

    Raises: Invalid for a period that is none.
    """
    for name, days in kept.items():
        if name not in KEPT_DAYS or (days is not None and days < 1):
            raise Invalid(f"{name} is {days}: send a number of days from 1, or none to keep for ever")
        _note(session, organisation, who, "retention_changed", {name: days, "before": getattr(organisation, name)})
        setattr(organisation, name, days)
    session.flush()


def list_settings(session: Session, organisation: Organisation) -> Sequence[ValidationSetting]:
    """List what the organisation wants of validation rules over the usual."""
    query = select(ValidationSetting).where(ValidationSetting.organisation_id == organisation.id)
    return session.scalars(query.order_by(ValidationSetting.meter_kind, ValidationSetting.rule)).all()


def put_setting(session: Session, organisation: Organisation, override: Override, *, who: str) -> None:
    """Want this of one rule for one kind of meter, in place of what was wanted before; its ledger is validated anew.

    Raises: Invalid naming rule, key and what is allowed.
    """
    check_override(override)
    values = {"organisation_id": organisation.id, "meter_kind": override.meter_kind, "rule": override.rule}
    parameters = dict(override.parameters)
    statement = insert(ValidationSetting).values(**values, parameters=parameters)
    key = ["organisation_id", "meter_kind", "rule"]
    session.execute(statement.on_conflict_do_update(index_elements=key, set_={"parameters": parameters}))
    _validate_anew(session, organisation, who, {**values, "parameters": parameters})


def drop_setting(session: Session, organisation: Organisation, meter_kind: str, rule: str, *, who: str) -> None:
    """Go back to the usual in one rule for one kind of meter; its ledger is validated anew.

    Raises: NotFound when nothing was wanted there.
    """
    key = (
        ValidationSetting.organisation_id == organisation.id,
        ValidationSetting.meter_kind == meter_kind,
        ValidationSetting.rule == rule,
    )
    if not session.execute(delete(ValidationSetting).where(*key).returning(ValidationSetting.rule)).all():
        raise NotFound(f"{organisation.slug!r} wants nothing special of rule {rule!r} for {meter_kind!r}")
    _validate_anew(session, organisation, who, {"meter_kind": meter_kind, "rule": rule, "parameters": None})


def _validate_anew(session: Session, organisation: Organisation, who: str, wanted: Mapping[str, Any]) -> None:
    _note(session, organisation, who, "validation_changed", wanted)
    session.execute(_MARK, {"organisation": organisation.id})


def _note(session: Session, organisation: Organisation, who: str, action: str, detail: Mapping[str, Any]) -> None:
    subject = f"organisation:{organisation.slug}"
    record(session, organisation.id, who=who, action=action, subject=subject, detail=detail)
