"""What the ledger does when the registry changes, in the same transaction."""

from datetime import datetime

from sqlalchemy.orm import Session

from cloud_hub.ledger.commissioning import set_commissioned
from cloud_hub.ledger.rebuild import rebuild_meters
from cloud_hub.registry.changes import on_commissioned, on_days_changed
from cloud_hub.registry.models import Meter


def _commission(session: Session, meter: Meter, at: datetime, who: str) -> None:
    set_commissioned(session, meter.id, at, who=who)


on_days_changed(rebuild_meters)
on_commissioned(_commission)
