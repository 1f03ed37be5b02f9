"""A real agent under the orders of a hub: configurations and commands, over a real broker."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from acking_hub import AckingHub
from agent_process import ENERGY, PROFILE, VOLTAGE, AgentProcess, two_meters
from order_factories import CONTROLLER, HubKey, make_command, make_order, signed, unsigned
from site_factories import make_meter_config, make_site_config

from demo.mosquitto import PrivateMosquitto
from demo.processes import wait_until
from protocol.control import Command, CommandKind, CommandReply, CommandState, ConfigReply, ConfigState
from protocol.scans import Scan
from protocol.site_config import SiteConfig
from protocol.topics import Down
from simulator.faults import Fault, FaultKind
from simulator.server import MeterServer

DEADLINE_S = 60


class Site:
    """An agent, its meters and its hub."""

    def __init__(self, agent: AgentProcess, hub: AckingHub, key: HubKey, meters: MeterServer) -> None:
        self.agent, self.hub, self.key, self.meters = agent, hub, key, meters

    def config(self, *meters: dict[str, Any]) -> SiteConfig:
        """Make a configuration of the one bus."""
        chosen = [make_meter_config(**meter) for meter in meters] or [make_meter_config("a", unit_id=1)]
        return make_site_config(chosen, [PROFILE], port=self.meters.port, timeout_s=0.3)

    def configure(self, site: SiteConfig, *, revision: int) -> None:
        """Have the broker keep an order."""
        self.hub.say(CONTROLLER, Down.CONFIG, signed(self.key, make_order(site, revision=revision)), retain=True)

    def command(self, kind: CommandKind, **arguments: Any) -> Command:
        """Give a command that was issued just now."""
        command = make_command(kind, arguments=arguments, issued_at_ms=time.time_ns() // 1_000_000)
        self.hub.say(CONTROLLER, Down.COMMAND, signed(self.key, command))
        return command

    def wait_for_scans(self, count: int) -> None:
        """Wait until the hub has so many scans more."""
        wanted = self.hub.scans + count
        self.wait(lambda: self.hub.scans >= wanted, "scans at the hub")

    def wait(self, condition: Any, what: str) -> Any:
        """Wait for something while the agent runs."""
        return wait_until(lambda: self.agent.process.require_running() and condition(), DEADLINE_S, what)

    def config_reply(self, state: ConfigState) -> ConfigReply:
        """Wait for an answer to a configuration."""

        def find() -> ConfigReply | None:
            return next((reply for reply in self.hub.config_replies if reply.state is state), None)

        reply = self.wait(find, f"the answer {state}")
        assert isinstance(reply, ConfigReply)
        return reply

    def command_reply(self, command: Command) -> CommandReply:
        """Wait for the answer to a command."""

        def find() -> CommandReply | None:
            return next((reply for reply in self.hub.command_replies if reply.id == command.id), None)

        reply = self.wait(find, f"the answer to {command.kind}")
        assert isinstance(reply, CommandReply)
        return reply


@pytest.fixture
def site(tmp_path: Path, own_broker: PrivateMosquitto) -> Iterator[Site]:
    key = HubKey()
    key.write_public(tmp_path / "hub.pem")
    login = own_broker.add_controller(CONTROLLER)
    with ExitStack() as stack:
        meters = stack.enter_context(two_meters())
        hub = stack.enter_context(AckingHub(own_broker.hub))
        orders = '[orders]\nkeys = ["hub.pem"]\nconfirm_within_s = 3\n'
        agent = AgentProcess(tmp_path, CONTROLLER, login.port, login.password, meters, more_settings=orders)
        stack.callback(agent.process.kill)
        yield Site(agent, hub, key, meters)


@pytest.fixture
def running(site: Site) -> Site:
    site.agent.process.start()
    site.wait_for_scans(4)
    return site


def test_configuration_is_applied_confirmed_and_survives_a_kill(running: Site) -> None:
    running.configure(running.config({"meter_id": "b", "unit_id": 2, "points": ["energy"]}), revision=5)
    reply = running.config_reply(ConfigState.APPLIED)
    assert reply.revision == 5
    running.wait(lambda: running.agent.events("configuration_confirmed"), "the confirmation")
    running.wait(
        lambda: (
            {"revision": 5, "hash": reply.hash, "state": "applied", "reason": ""}
            in [health.configuration for health in running.hub.healths]
        ),
        "health that names the configuration",
    )
    running.agent.process.kill()
    running.agent.process.start()
    running.wait(lambda: len(running.hub.entries) == 3, "scans of the third stream")
    assert [event["configuration"] for event in running.agent.events("agent_started")] == [
        "the controller's own site file",
        "the hub, revision 5",
    ]
    running.agent.process.stop(DEADLINE_S)
    assert running.agent.buffer.outstanding == 0
    for stream_id, entries in running.hub.entries.items():
        layouts = running.hub.manifest_of[stream_id].layouts
        meters = [layout.meter for layout in layouts]
        assert meters in (["a", "b"], ["b"])
        for entry in entries.values():
            assert isinstance(entry.content, Scan)
            expected = (VOLTAGE, ENERGY) if meters == ["a", "b"] else (ENERGY,)
            assert entry.content.values == expected


def test_identical_configuration_changes_nothing(running: Site) -> None:
    for _ in range(2):
        running.configure(running.config(), revision=1)
        running.config_reply(ConfigState.APPLIED)
    assert running.config_reply(ConfigState.UNCHANGED).revision == 1
    assert len(running.agent.events("configuration_applied")) == 1


def test_configuration_that_cannot_be_followed_is_rejected_with_the_reason(running: Site) -> None:
    running.configure(running.config(), revision=7)
    running.config_reply(ConfigState.APPLIED)
    wrong = running.config({"meter_id": "a", "points": ["volltage"]})
    for order in (
        signed(running.key, make_order(running.config(), revision=6)),
        signed(running.key, make_order(wrong, revision=8)),
        signed(HubKey(), make_order(running.config(), revision=9)),
        signed(running.key, make_order(running.config(), revision=10), controller_id="hut-2"),
        unsigned(make_order(running.config(), revision=11)),
    ):
        running.hub.say(CONTROLLER, Down.CONFIG, order)

    def reasons() -> dict[int, str]:
        rejected = [reply for reply in running.hub.config_replies if reply.state is ConfigState.REJECTED]
        return {reply.revision: reply.reason for reply in rejected}

    # The newest order takes the place of those that wait, so not each is judged; the last one is.
    running.wait(lambda: 11 in reasons(), "the rejection of the last one")
    assert "agent.toml does not allow" in reasons()[11]
    expected = {6: "not newer than revision 7", 8: "did you mean 'voltage'", 9: "orders.keys", 10: "another controller"}
    for revision, reason in expected.items():
        running.hub.say(CONTROLLER, Down.CONFIG, _order(running, wrong, revision))
        running.wait(lambda revision=revision: revision in reasons(), f"the rejection of {revision}")
        assert reason in reasons()[revision]
    assert len(running.agent.events("configuration_applied")) == 1


def _order(site: Site, wrong: SiteConfig, revision: int) -> bytes:
    key = HubKey() if revision == 9 else site.key
    order = make_order(wrong if revision == 8 else site.config(), revision=revision)
    return signed(key, order, controller_id="hut-2" if revision == 10 else CONTROLLER)


def test_configuration_with_which_the_hub_is_not_reached_is_rolled_back(running: Site) -> None:
    running.hub.is_deaf_to_hellos = True
    running.configure(running.config({"meter_id": "b", "unit_id": 2}), revision=3)
    reply = running.config_reply(ConfigState.ROLLED_BACK)
    assert reply.revision == 3
    assert "did not answer within 3 s" in reply.reason
    running.wait(lambda: running.agent.buffer.streams[2].recorded, "scans of the configuration before")
    running.hub.is_deaf_to_hellos = False
    # Retained, so it comes again with each connection; it is not tried again.
    running.agent.process.restart()
    running.wait_for_scans(4)
    assert len(running.agent.events("configuration_applied")) == 1
    [*_, started] = running.agent.events("agent_started")
    assert started["configuration"] == "the controller's own site file"


def test_trial_goes_on_after_a_kill(running: Site) -> None:
    running.hub.is_deaf_to_hellos = True
    running.configure(running.config({"meter_id": "b", "unit_id": 2}), revision=3)
    running.wait(lambda: running.agent.events("configuration_applied"), "the change")
    running.agent.process.kill()
    running.agent.process.start()
    running.wait(lambda: len(running.agent.events("agent_started")) == 2, "the start")
    running.config_reply(ConfigState.ROLLED_BACK)


def test_every_kind_of_command_is_answered(running: Site) -> None:
    read = running.command_reply(running.command(CommandKind.READ, meter="b"))
    assert read.result["meters"]["b"]["values"] == {"voltage": VOLTAGE, "energy": ENERGY}
    everything = running.command_reply(running.command(CommandKind.READ))
    assert set(everything.result["meters"]) == {"a", "b"}

    live = running.command_reply(running.command(CommandKind.LIVE, minutes=1, period_s=1))
    assert live.state is CommandState.DONE
    assert running.command_reply(running.command(CommandKind.LIVE, minutes=0)).state is CommandState.DONE

    [stream] = running.hub.entries
    resent = running.command_reply(running.command(CommandKind.RESEND, stream=stream.hex(), first=1, last=2))
    assert (resent.state, resent.result["first"], resent.result["last"]) == (CommandState.DONE, 1, 2)
    unknown = running.command_reply(running.command(CommandKind.RESEND, stream="00" * 16, first=1, last=2))
    assert unknown.state is CommandState.FAILED

    diagnosis = running.command_reply(running.command(CommandKind.DIAGNOSE)).result
    assert diagnosis["settings"]["controller_id"] == CONTROLLER
    assert diagnosis["counters"]["meters"]["a"]["state"] == "good"
    assert any("broker_connected" in line for line in diagnosis["log"])

    refused = running.command_reply(running.command(CommandKind.WRITE, meter="a", point="voltage", value=1))
    assert refused.state is CommandState.REFUSED
    assert "does not open point 'voltage'" in refused.reason
    misspelt = running.command_reply(running.command(CommandKind.READ, meter="c"))
    assert (misspelt.state, "'c'" in misspelt.reason) == (CommandState.REFUSED, True)


def test_repeated_command_is_answered_again_but_not_repeated(running: Site) -> None:
    command = running.command(CommandKind.DIAGNOSE)
    first = running.command_reply(command)
    running.hub.say(CONTROLLER, Down.COMMAND, signed(running.key, command))
    running.wait(lambda: len(running.hub.command_replies) == 2, "the second answer")
    assert running.hub.command_replies[1] == first
    assert len(running.agent.events("command_begun")) == 1


def test_killed_agent_calls_a_command_interrupted_and_does_not_repeat_it(running: Site) -> None:
    running.configure(
        make_site_config([make_meter_config("a", unit_id=1)], [PROFILE], port=running.meters.port, timeout_s=30),
        revision=1,
    )
    running.config_reply(ConfigState.APPLIED)
    running.meters.set_fault("a", Fault(FaultKind.DEAD))
    command = running.command(CommandKind.READ)
    running.wait(lambda: running.agent.events("command_begun"), "the command's begin")
    running.agent.process.kill()
    running.meters.set_fault("a", None)
    running.agent.process.start()
    assert running.command_reply(command).state is CommandState.INTERRUPTED
    running.hub.say(CONTROLLER, Down.COMMAND, signed(running.key, command))
    running.wait(lambda: len(running.hub.command_replies) == 2, "the second answer")
    assert len(running.agent.events("command_begun")) == 1


def test_flood_of_commands_is_turned_away_and_the_agent_lives(running: Site) -> None:
    commands = [running.command(CommandKind.LIVE, minutes=0) for _ in range(40)]
    replies = [running.command_reply(command) for command in commands]
    refused = [reply for reply in replies if reply.state is CommandState.REFUSED]
    assert all("order it again later" in reply.reason for reply in refused)
    assert {reply.state for reply in replies} <= {CommandState.DONE, CommandState.REFUSED}
    assert running.command_reply(running.command(CommandKind.READ)).state is CommandState.DONE
