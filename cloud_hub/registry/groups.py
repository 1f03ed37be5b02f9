"""Groups of meters that are looked at together. Callers commit."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from cloud_hub.errors import Conflict, Invalid, NotFound
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.answers import group_out
from cloud_hub.registry.models import Meter, MeterGroup, MeterGroupMember
from cloud_hub.registry.queries import get_organisation
from cloud_hub.registry.trail import Where, note, note_edit
from cloud_hub.web.pagination import Page, Window, cut


class UnknownGroup(NotFound):
    """No group has that id."""


class GroupExists(Conflict):
    """The organisation has a group of that slug already."""


class ForeignMeter(Invalid):
    """A group has meters of its own organisation only."""


def list_groups(session: Session, window: Window, organisation: str | None = None) -> Page[MeterGroup]:
    """List groups by id; those of an organisation and of those below it, when one is named."""
    query = select(MeterGroup).where(MeterGroup.id > window.after_id).order_by(MeterGroup.id).limit(window.limit + 1)
    if organisation is not None:
        top = get_organisation(session, organisation).id
        query = query.where(
            MeterGroup.organisation_id.in_(select(Organisation.id).where(Organisation.lineage.contains([top])))
        )
    return cut(session.scalars(query).all(), window, lambda group: group.id)


def count_members(session: Session, group_ids: Collection[int]) -> dict[int, int]:
    """Return how many meters in sight each of these groups has."""
    query = select(MeterGroupMember.group_id, func.count().label("meters"))
    rows = session.execute(query.where(MeterGroupMember.group_id.in_(group_ids)).group_by(MeterGroupMember.group_id))
    return {row.group_id: row.meters for row in rows}


def get_group(session: Session, group_id: int, *, is_locked: bool = False) -> MeterGroup:
    """Return the group with that id.

    Raises: UnknownGroup.
    """
    group = session.get(MeterGroup, group_id, with_for_update=is_locked or None)
    if group is None:
        raise UnknownGroup(f"there is no group {group_id}")
    return group


def create_group(
    session: Session, organisation: Organisation, slug: str, name: str, meter_ids: Sequence[int], *, who: str
) -> MeterGroup:
    """Make a group of meters.

    Raises: GroupExists, ForeignMeter.
    """
    known = select(MeterGroup.id).where(MeterGroup.organisation_id == organisation.id, MeterGroup.slug == slug)
    if session.scalars(known).one_or_none() is not None:
        raise GroupExists(f"slug: organisation {organisation.slug!r} has a group {slug!r} already: choose another slug")
    group = MeterGroup(organisation_id=organisation.id, slug=slug, name=name)
    session.add(group)
    session.flush()
    _set_members(session, group, meter_ids)
    said = group_out(session, group).model_dump(mode="json")
    note(session, _where(group), who=who, kind="group.created", detail={"after": said}, data=said)
    return group


def edit_group(session: Session, group: MeterGroup, given: Mapping[str, Any], *, who: str) -> None:
    """Change what `given` has, of a group whose row is locked; `meters` are all of its members.

    Raises: ForeignMeter.
    """
    before = group_out(session, group).model_dump(mode="json")
    if "name" in given:
        group.name = given["name"]
    if "meters" in given:
        _set_members(session, group, given["meters"])
    session.flush()
    after = group_out(session, group).model_dump(mode="json")
    note_edit(session, _where(group), who=who, kind="group.changed", before=before, after=after)


def delete_group(session: Session, group: MeterGroup, *, who: str) -> None:
    """Remove a group; its meters stay."""
    place, said = _where(group), group_out(session, group).model_dump(mode="json")
    session.delete(group)
    session.flush()
    note(session, place, who=who, kind="group.removed", detail={"before": said}, data={"group": group.slug})


def _set_members(session: Session, group: MeterGroup, meter_ids: Sequence[int]) -> None:
    wanted = set(meter_ids)
    own = select(Meter.id).where(Meter.id.in_(wanted), Meter.organisation_id == group.organisation_id)
    foreign = wanted - set(session.scalars(own))
    if foreign:
        raise ForeignMeter(f"meters: meter {min(foreign)} is not of the group's organisation: leave it out")
    session.execute(delete(MeterGroupMember).where(MeterGroupMember.group_id == group.id))
    if wanted:
        rows = [{"group_id": group.id, "meter_id": meter_id} for meter_id in sorted(wanted)]
        session.execute(insert(MeterGroupMember), rows)


def _where(group: MeterGroup) -> Where:
    return Where(group.organisation_id, None, f"group:{group.id}")
