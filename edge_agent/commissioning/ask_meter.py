"""Ask one meter once: on the running agent's own line when one runs, else over a connection of our own."""

import asyncio
from contextlib import closing
from functools import partial

from edge_agent.bus.bus import ModbusBus
from edge_agent.clock.clock import SystemClock
from edge_agent.commissioning.visit_report import MeterAnswer
from edge_agent.control.in_force import InForce, resume
from edge_agent.control.journal import Journal
from edge_agent.local.client import NotRunning, ask_agent
from edge_agent.local.relayed import HeardBus
from edge_agent.local.whole_visit import visit_whole
from edge_agent.polling.meter_reader import bus_of
from edge_agent.settings import Settings
from edge_agent.site.compile import compile_site, find_meter, load_site
from protocol.site.plan import MeterPlan, whole_meter
from protocol.site_config import SiteConfig


def ask_meter(settings: Settings, meter_id: str) -> MeterAnswer:
    """Ask a meter for all its points and texts.

    Raises: SettingsError for an unknown meter; AgentError when the running agent cannot ask it.
    """
    try:
        told = ask_agent(settings.socket_path, ask="read", meter=meter_id)
    except NotRunning:
        bus, meter = find_meter(plan_in_force(settings).plan, meter_id)
        return asyncio.run(_ask(meter, bus_of(bus)))
    # What the agent goes by, which need not be the site's own file.
    bus, meter = find_meter(compile_site(SiteConfig.model_validate(told["site"]), "the running agent"), meter_id)
    answer = asyncio.run(_ask(meter, HeardBus(told["heard"], bus.config)))
    return answer.observed_at(told["observed_at_ms"])


def plan_in_force(settings: Settings) -> InForce:
    """Compile the configuration that the agent would go by: the hub's, when it sent one, else the site's own file.

    Raises: SettingsError, StorageUnavailable.
    """
    load_own = partial(load_site, settings.site)
    if not settings.orders.site_from_hub:
        return InForce(load_own())
    return resume(Journal(settings.orders_path, is_ours=False).configuration().in_force, load_own)


async def _ask(meter: MeterPlan, bus: ModbusBus) -> MeterAnswer:
    with closing(bus):
        visit, texts = await visit_whole(bus, meter, SystemClock())
        return MeterAnswer(meter, whole_meter(meter), visit, tuple(texts.items()))
