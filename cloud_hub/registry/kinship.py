"""Which meter hangs below which: of one site, and never in a circle."""

from collections.abc import Collection

from sqlalchemy import select, text
from sqlalchemy.orm import Session, aliased

from cloud_hub.errors import Conflict, Invalid
from cloud_hub.registry.models import Meter, Site

_IS_ABOVE = text("""
    WITH RECURSIVE above (id) AS (
        SELECT CAST(:parent AS bigint)
        UNION
        SELECT m.parent_id FROM meters m JOIN above a ON m.id = a.id WHERE m.parent_id IS NOT NULL
    )
    SELECT EXISTS (SELECT FROM above WHERE id = :meter)
""")


class NoParent(Invalid):
    """This meter cannot be the one upstream."""


class TornApart(Conflict):
    """A meter and the one above it would be at two sites."""


def set_parent(session: Session, meter: Meter, parent: Meter | None) -> None:
    """Let a meter hang below another, or below none; it must have been flushed.

    Raises: NoParent for one of another site, or one that hangs below this meter.
    """
    if parent is not None:
        # Two who change the same tree at once could close a circle between them.
        session.execute(select(Site.id).where(Site.id == meter.site_id).with_for_update(key_share=True))
        if parent.site_id != meter.site_id:
            raise NoParent(
                f"parent: meter {parent.id} ({parent.slug}) belongs to another site: name one of the meter's own site"
            )
        if session.scalar(_IS_ABOVE, {"parent": parent.id, "meter": meter.id}):
            raise NoParent(
                f"parent: meter {parent.id} ({parent.slug}) is, or hangs below, meter {meter.id} ({meter.slug}): "
                "a meter cannot be upstream of itself"
            )
    meter.parent_id = None if parent is None else parent.id
    session.flush()


def refuse_torn_apart(session: Session, meter_ids: Collection[int]) -> None:
    """Refuse to take these meters elsewhere while one of them hangs on one that stays, or one that stays on them.

    Raises: TornApart.
    """
    above = aliased(Meter)
    pairs = select(Meter.id, above.id.label("parent")).join(above, above.id == Meter.parent_id)
    split = session.execute(
        pairs.where(Meter.id.in_(meter_ids) != above.id.in_(meter_ids)).order_by(Meter.id).limit(1)
    ).first()
    if split is not None:
        raise TornApart(
            f"meter {split.id} hangs below meter {split.parent}, and only one of them would go: "
            f"take both, or give meter {split.id} no parent first"
        )
