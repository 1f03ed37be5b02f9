"""What takes the place of a meter: another meter, or another device behind the same one. Callers commit."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.errors import Conflict, Invalid
from cloud_hub.registry.history_models import MeterDevice
from cloud_hub.registry.life_cycle import add_step, advance, check_instant
from cloud_hub.registry.meter_profiles import require_profile
from cloud_hub.registry.models import LifeCycle, Meter
from cloud_hub.registry.trail import note, where

_EXCHANGEABLE = (LifeCycle.COMMISSIONED, LifeCycle.IN_SERVICE)


class NotThere(Conflict):
    """There is no device that could be exchanged."""


def step_meter(
    session: Session,
    meter: Meter,
    to: LifeCycle,
    *,
    who: str,
    at: datetime | None = None,
    why: str = "",
    replaced_by: Meter | None = None,
) -> None:
    """Let a meter, its row locked, go on in its life; `replaced_by` goes with `to` replaced.

    Raises: NotThatWay, Invalid.
    """
    if replaced_by is not None:
        if replaced_by.id == meter.id or replaced_by.site_id != meter.site_id:
            raise Invalid("replaced_by: name another meter of the same site")
        meter.replaced_by_id = replaced_by.id
    advance(session, meter, to, at=at, who=who, why=why)


def exchange_device(
    session: Session, meter: Meter, *, at: datetime, serial_number: str, profile: str | None, who: str, why: str
) -> MeterDevice:
    """Note that another device measures for a meter, its row locked, from an instant on; return the one before.

    Its registers are the ledger's to note. Raises: NotThere, Invalid, NoProfile.
    """
    if meter.state not in _EXCHANGEABLE:
        raise NotThere(
            f"the meter is {meter.state.replace('_', ' ')}: only a device that is in service can be exchanged"
        )
    check_instant(session, meter, at)
    if profile is not None:
        require_profile(session, meter.organisation_id, profile)
    before = MeterDevice(
        meter_id=meter.id,
        serial_number=meter.serial_number,
        profile=meter.profile,
        removed_at=at,
        recorded_by=who,
        why=why,
    )
    session.add(before)
    meter.serial_number, meter.profile = serial_number, profile or meter.profile
    state = LifeCycle(meter.state)
    add_step(session, meter, state, LifeCycle.REPLACED, at=at, who=who, why=why)
    add_step(session, meter, LifeCycle.REPLACED, LifeCycle.IN_SERVICE, at=at, who=who, why=why)
    meter.state = LifeCycle.IN_SERVICE
    session.flush()
    after = {"serial_number": meter.serial_number, "profile": meter.profile}
    detail = {
        "at": at.astimezone(UTC).isoformat(),
        "before": {"serial_number": before.serial_number, "profile": before.profile},
        "after": after,
        "why": why,
    }
    told = {"controller": meter.controller_id, "meter": meter.slug, "at": detail["at"]} | after
    note(session, where(meter), who=who, kind="meter.exchanged", detail=detail, data=told)
    return before


def list_devices(session: Session, meter: Meter) -> list[MeterDevice]:
    """List the devices that a meter had before the present one, oldest first."""
    query = select(MeterDevice).where(MeterDevice.meter_id == meter.id)
    return list(session.scalars(query.order_by(MeterDevice.removed_at, MeterDevice.id)))
