"""What those above this slice do when the registry changes: each says so once, by being imported.

They do it in the transaction of the change, so that no figure is ever left that the registry contradicts.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import TypeVar

from sqlalchemy.orm import Session

from cloud_hub.registry.models import Meter

DaysChanged = Callable[[Session, Collection[int]], None]
"""Gets the ids of meters whose days or intervals are others than before: their zone or organisation changed."""
Commissioned = Callable[[Session, Meter, datetime, str], None]
"""Gets a meter whose readings count from an instant on, and who said so."""

Hook = TypeVar("Hook")

_days_changed: list[DaysChanged] = []
_commissioned: list[Commissioned] = []


def on_days_changed(hook: DaysChanged) -> None:
    """Let `hook` run when meters' days or intervals become others."""
    _days_changed.append(hook)


def on_commissioned(hook: Commissioned) -> None:
    """Let `hook` run when a meter is commissioned."""
    _commissioned.append(hook)


def tell_days_changed(session: Session, meter_ids: Collection[int]) -> None:
    """Say that these meters' days or intervals are others than before."""
    if meter_ids:
        for hook in _of(_days_changed):
            hook(session, meter_ids)


def tell_commissioned(session: Session, meter: Meter, at: datetime, who: str) -> None:
    """Say that a meter's readings count from an instant on."""
    for hook in _of(_commissioned):
        hook(session, meter, at, who)


def _of(hooks: list[Hook]) -> list[Hook]:
    """Return the hooks; a process that forgot to import them would leave a ledger that is wrong."""
    if not hooks:
        raise LookupError("nobody keeps ledgers in step with the registry: import cloud_hub.ledger.registry_changes")
    return hooks
