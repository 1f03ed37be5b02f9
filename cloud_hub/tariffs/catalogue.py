"""Whose tariffs, price series and series of factors are: lists of them, and for whom a new one is made."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.access.actor import Actor
from cloud_hub.access.permissions import Permission
from cloud_hub.errors import Invalid, NotFound
from cloud_hub.organisations.models import Organisation
from cloud_hub.tariffs.models import EmissionSeries, PriceSeries, Tariff
from cloud_hub.web.pagination import Page, Window, cut

Item = TypeVar("Item", Tariff, PriceSeries, EmissionSeries)


@dataclass(frozen=True, slots=True)
class Owned(Generic[Item]):
    """Something of a catalogue, and whose it is."""

    item: Item
    organisation: str | None
    """Its slug; None for one above, of which no more is to be seen than its catalogue."""


def list_owned(
    session: Session, table: type[Item], window: Window, *, organisation: str | None = None, **wanted: str | None
) -> Page[Owned[Item]]:
    """List a catalogue by id; `wanted` are columns and what they hold, None for anything."""
    query = (
        select(table, Organisation.slug)
        .outerjoin(Organisation, Organisation.id == table.organisation_id)
        .where(table.id > window.after_id)
    )
    if organisation is not None:
        query = query.where(Organisation.slug == organisation)
    for name, value in wanted.items():
        if value is not None:
            query = query.where(getattr(table, name) == value)
    rows = session.execute(query.order_by(table.id).limit(window.limit + 1))
    return cut([Owned(item, slug) for item, slug in rows], window, lambda one: one.item.id)


def find_owner(session: Session, organisation_id: int) -> str | None:
    """Return an organisation's slug; None for one that is not to be seen."""
    return session.scalars(select(Organisation.slug).where(Organisation.id == organisation_id)).one_or_none()


def choose_owner(session: Session, actor: Actor, named: str | None) -> int:
    """Return the id of the organisation for which somebody makes something: the one named, else the only one they may.

    Raises: NotFound; Invalid when it is not clear which.
    """
    if named is None:
        able = {
            grant.organisation_id
            for grant in actor.grants
            if Permission.TARIFFS_WRITE in grant.permissions and grant.sites is None
        }
        if len(able) != 1:
            raise Invalid("organisation is missing: name the one that it is for, as you may do this for several")
        return able.pop()
    found = session.scalars(select(Organisation.id).where(Organisation.slug == named)).one_or_none()
    if found is None:
        raise NotFound(f"there is no organisation {named!r}")
    return found
