"""What people publish and order in the API, a real agent does and answers, and the API shows it."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from agent_process import AgentProcess, two_meters
from api_client import ApiClient
from configuration_factories import told
from flask.testing import FlaskClient
from hub_factories import add_controller, add_site
from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud_hub.cli import main
from cloud_hub.settings import SIGNING_KEY_FILE
from demo.mosquitto import PrivateMosquitto
from demo.processes import Process, wait_until

CONTROLLER = "hut-1"
CONFIGURATIONS, COMMANDS = f"controllers/{CONTROLLER}/configurations", f"controllers/{CONTROLLER}/commands"
WAIT_S = 60


class Hut:
    """A hut with a real agent, a real broker, a real ingest and a real work process."""

    def __init__(self, api: ApiClient, agent: AgentProcess, hub: Sequence[Process]) -> None:
        self.api, self.agent, self.hub = api, agent, hub

    def wait(self, path: str, is_so: Callable[[Any], bool]) -> Any:
        """Wait until something is shown as it shall be, while every process runs."""

        def shown() -> Any:
            for process in (self.agent.process, *self.hub):
                process.require_running()
            found = self.api.get(path)
            return found if is_so(found) else None

        return wait_until(shown, WAIT_S, f"{path} to change")

    def publish(self, site: dict[str, Any]) -> str:
        """Draft, validate and publish a configuration; return its path."""
        path = f"configurations/{self.api.done('POST', CONFIGURATIONS, {'site': site})['id']}"
        self.api.done("POST", f"{path}/validate")
        self.api.done("POST", f"{path}/publish")
        return path

    def order(self, kind: str, **arguments: Any) -> str:
        """Order a command; return its path."""
        return f"commands/{self.api.done('POST', COMMANDS, {'kind': kind, 'arguments': arguments})['id']}"


@pytest.fixture
def public_key(
    database_url: str,
    own_broker: PrivateMosquitto,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """Set the hub's environment, make its signing key, and return what controllers know it by."""
    monkeypatch.setenv("METERHAUL_DATABASE_URL", database_url)
    monkeypatch.setenv("METERHAUL_BROKER_URL", own_broker.hub_url)
    monkeypatch.setenv(SIGNING_KEY_FILE, str(tmp_path / "signing-key"))
    assert main(["signing-key"]) == 0
    return capsys.readouterr().out


@pytest.fixture
def hut(
    public_key: str, client: FlaskClient, session: Session, own_broker: PrivateMosquitto, tmp_path: Path
) -> Iterator[Hut]:
    add_controller(session, add_site(session), CONTROLLER, presence=None)
    session.commit()
    (tmp_path / "hub.pem").write_text(public_key, encoding="ascii")
    login = own_broker.add_controller(CONTROLLER)
    with ExitStack() as stack:
        meters = stack.enter_context(two_meters())
        orders = '[orders]\nkeys = ["hub.pem"]\nconfirm_within_s = 20\n'
        agent = AgentProcess(tmp_path, CONTROLLER, login.port, login.password, meters, more_settings=orders)
        hub = [
            Process(
                name,
                [sys.executable, "-m", "meterhaul.cli", "hub", name],
                log_file=tmp_path / f"{name}.log",
                env=dict(os.environ),
            )
            for name in ("ingest", "work")
        ]
        for process in (*hub, agent.process):
            stack.callback(process.kill)
            process.start()
        hut = Hut(ApiClient(client), agent, hub)
        wait_until(lambda: agent.has_stored, WAIT_S, "the agent to read its meters")
        yield hut


def fewer_meters(hut: Hut, period_s: float) -> dict[str, Any]:
    """Return the agent's configuration with its first meter alone."""
    site: dict[str, Any] = hut.agent.site.model_dump(mode="json", exclude_none=True)
    [bus] = site["buses"]
    return site | {"buses": [bus | {"meters": [bus["meters"][0] | {"period_s": period_s}]}]}


@pytest.mark.timeout(240)
def test_configurations_and_commands_go_to_a_controller_and_their_answers_come_back(hut: Hut, session: Session) -> None:
    first = hut.publish(fewer_meters(hut, 0.1))
    assert hut.wait(first, lambda shown: shown["state"] == "acknowledged")["reason"] == ""

    # A release before this one would not know the profile; the hub's own compiler lets no such thing out.
    path = f"configurations/{hut.api.done('POST', CONFIGURATIONS, {'site': fewer_meters(hut, 0.2)})['id']}"
    hut.api.done("POST", f"{path}/validate")
    session.execute(
        text("UPDATE configurations SET resolved = jsonb_set(resolved, '{profiles}', '[]') WHERE state = 'validated'")
    )
    session.commit()
    hut.api.done("POST", f"{path}/publish")
    refused = hut.wait(path, lambda shown: shown["state"] == "refused")
    assert "profile 'test-meter' is unknown" in refused["reason"]

    again = f"configurations/{hut.api.done('POST', f'{first}/roll-back', {'note': 'unknown there'})['id']}"
    assert hut.wait(again, lambda shown: shown["state"] == "acknowledged")["revision"] == 3

    command = hut.order("read", meter="a")
    done = hut.wait(command, lambda shown: shown["state"] == "done")
    assert done["result"]["meters"]["a"]["values"]["voltage"] == pytest.approx(231.2)
    assert done["sent_at"] <= done["ended_at"]
    assert done["received_at"] <= done["ended_at"]
    refused = hut.wait(hut.order("read", meter="b"), lambda shown: shown["state"] == "refused")
    assert "meter 'b' is not in the site configuration" in refused["reason"]

    hut.agent.process.kill()
    late = hut.api.done("POST", COMMANDS, {"kind": "diagnose", "expires_in_s": 10})
    session.execute(text("UPDATE commands SET expires_at = now() WHERE id = :id"), {"id": late["id"]})
    session.commit()
    wait_until(
        lambda: hut.api.get(f"commands/{late['id']}")["state"] == "expired", WAIT_S, "the command to be given up"
    )
    kinds = told(session, "command.")
    assert kinds[0] == "command.queued"
    assert set(kinds) >= {"command.sent", "command.received", "command.done", "command.refused", "command.expired"}
    assert told(session, "configuration.").count("configuration.acknowledged") == 2
