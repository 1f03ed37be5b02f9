"""Everything that follows the hub's orders, put together."""

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from edge_agent.buffer.buffer import Buffer
from edge_agent.clock.clock import AgentClock
from edge_agent.control.commands import Commands
from edge_agent.control.configuration import Configuration, Site, TrialRules
from edge_agent.control.diagnose import prepare_diagnose
from edge_agent.control.in_force import Start
from edge_agent.control.journal import Journal
from edge_agent.control.live import prepare_live
from edge_agent.control.orders import Orders
from edge_agent.control.read_now import prepare_read
from edge_agent.control.replies import ReplySender
from edge_agent.control.resend import prepare_resend
from edge_agent.control.signatures import Signatures
from edge_agent.control.write_point import prepare_write
from edge_agent.health.reporter import HealthReporter
from edge_agent.identity import read_boot_id
from edge_agent.polling.supervisor import Supervisor
from edge_agent.settings import Settings
from edge_agent.site.compile import load_site
from edge_agent.uplink.forwarder import Forwarder
from edge_agent.uplink.uplink import Uplink
from protocol.control import CommandKind
from protocol.site.plan import SitePlan


class Control:
    """The hub's orders, from the broker to what they change and back to the hub as answers."""

    def __init__(
        self,
        *,
        settings: Settings,
        start: Start,
        signatures: Signatures,
        uplink: Uplink,
        clock: AgentClock,
        site: Site,
        buffer: Buffer,
        forwarder: Forwarder,
        supervisor: Supervisor,
        health: HealthReporter,
    ) -> None:
        """`start` is what `in_force.choose` decided."""
        journal = Journal(settings.orders_path)
        self._replies = ReplySender(journal=journal, uplink=uplink)
        self._configuration = Configuration(
            start=start,
            journal=journal,
            replies=self._replies,
            signatures=signatures,
            site=site,
            clock=clock,
            rules=TrialRules(within_s=settings.orders.confirm_within_s, boot_id=read_boot_id().hex()),
            load_own=partial(load_site, settings.site),
            on_change=health.changed,
            accepts=settings.orders.site_from_hub,
        )

        def plan() -> SitePlan:
            return supervisor.plan

        commands = Commands(
            journal=journal,
            replies=self._replies,
            signatures=signatures,
            clock=clock,
            kinds={
                CommandKind.READ: partial(prepare_read, plan=plan, reader=supervisor),
                CommandKind.LIVE: partial(prepare_live, plan=plan, clock=clock, sampler=supervisor, sender=forwarder),
                CommandKind.RESEND: partial(prepare_resend, streams=buffer.streams, forwarder=forwarder),
                CommandKind.DIAGNOSE: partial(prepare_diagnose, settings=settings, health=health.collect),
                CommandKind.WRITE: partial(prepare_write, plan=plan, buses=supervisor),
            },
        )
        self._orders = Orders(uplink=uplink, configuration=self._configuration, commands=commands)
        forwarder.on_hello_answered = self._orders.hub_answered

    def services(self) -> Mapping[str, Callable[[], Coroutine[Any, Any, None]]]:
        """Return what is to run, by name."""
        return {"orders": self._orders.run, "replies": self._replies.run}

    def report(self) -> dict[str, Any]:
        """Report on the configuration for health."""
        return self._configuration.report()
