"""Which meters a command is about."""

from collections.abc import Sequence

from edge_agent.control.signatures import OrderRefused
from edge_agent.errors import SettingsError
from edge_agent.site.compile import find_meter
from protocol.site.plan import SitePlan


def require_meters(plan: SitePlan, meter_id: str | None) -> Sequence[str] | None:
    """Return the meter that a command names, as a list; None for all.

    Raises: OrderRefused for a meter that the site does not have.
    """
    if meter_id is None:
        return None
    try:
        find_meter(plan, meter_id)
    except SettingsError as error:
        raise OrderRefused(str(error)) from None
    return (meter_id,)
