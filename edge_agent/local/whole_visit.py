"""One visit for everything that a meter has: what a person on site wants to see."""

from edge_agent.bus.bus import ModbusBus
from edge_agent.clock.clock import Clock
from edge_agent.polling.meter_reader import MeterReader, Visit
from edge_agent.polling.self_description import SelfDescription
from protocol.site.plan import MeterPlan, whole_meter


async def visit_whole(bus: ModbusBus, meter: MeterPlan, clock: Clock) -> tuple[Visit, dict[str, str]]:
    """Ask a meter for all its points, then for what it says of itself unless it was silent."""
    visit = await MeterReader(meter=meter, group=whole_meter(meter), bus=bus, clock=clock).visit()
    if visit.silence is not None or not meter.texts:
        return visit, {}
    return visit, await SelfDescription(meter=meter, bus=bus, clock=clock).read()
