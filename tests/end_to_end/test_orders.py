"""What the hub orders is done on the site, told to the hub, and costs no reading."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from order_factories import HubKey, make_command, signed
from paho.mqtt import client as mqtt
from paho.mqtt import publish
from sqlalchemy import text
from watching import (
    FAST,
    account_after,
    assert_nothing_silent_doubled_or_altered,
    wait_for_commits,
    wait_until_delivered,
)

from demo.holdings import count
from demo.processes import wait_until
from demo.stack import CONTROLLER, Stack
from edge_agent.clock.clock import SystemClock
from protocol import topics
from protocol.control import CommandKind, ConfigOrder
from protocol.site_config import SiteConfig
from protocol.topics import Down

WAIT_S = 60


def say(stack: Stack, kind: Down, payload: bytes) -> None:
    """Publish an order as the hub does."""
    hub = stack.broker.hub
    publish.single(
        topics.down(CONTROLLER, kind),
        payload,
        qos=1,
        retain=kind is Down.CONFIG,
        hostname=hub.host,
        port=hub.port,
        client_id="orders",
        auth={"username": hub.username, "password": hub.password},
        protocol=mqtt.MQTTv5,
    )


def replies(stack: Stack) -> dict[str, dict[str, Any]]:
    """Return what the hub keeps of answers, by command id or revision."""
    with stack.session() as session:
        rows = session.execute(text("SELECT reference, state, reason, body FROM controller_replies ORDER BY id"))
        return {row.reference: {"state": row.state, "reason": row.reason, **row.body} for row in rows}


def reply(stack: Stack, reference: str) -> dict[str, Any]:
    """Wait for an answer."""

    def came() -> bool:
        stack.require_running()
        return reference in replies(stack)

    wait_until(came, WAIT_S, f"the answer to {reference}")
    return replies(stack)[reference]


def test_commands_and_configurations_are_answered_and_every_reading_is_accounted_for(
    start_stack: Callable[..., Stack], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    key = HubKey()
    monkeypatch.setenv("METERHAUL_EDGE_ORDERS_KEYS", str(key.write_public(tmp_path / "hub.pub")))
    stack = start_stack(pace=FAST)
    wait_for_commits(stack, 50, WAIT_S)

    now_ms = SystemClock().now_ms()
    read = make_command(CommandKind.READ, arguments={"meter": "heater"}, issued_at_ms=now_ms)
    say(stack, Down.COMMAND, signed(key, read, controller_id=CONTROLLER))
    answer = reply(stack, read.id)
    assert answer["state"] == "done", answer
    assert "active_power_total" in json.dumps(answer["result"])

    site = SiteConfig.model_validate_json((stack.directory / "agent" / "site.json").read_text(encoding="utf-8"))
    fewer = site.model_copy(update={"buses": site.buses[:-1], "revision": 1})
    say(stack, Down.CONFIG, signed(key, ConfigOrder(site=fewer, issued_at_ms=now_ms), controller_id=CONTROLLER))
    assert reply(stack, "1")["state"] == "applied"
    wait_for_commits(stack, count(stack).scans_committed + 50, WAIT_S)

    [bus, *others] = fewer.buses
    unknown = bus.model_copy(update={"meters": (bus.meters[0].model_copy(update={"profile": "no-such-meter"}),)})
    broken = fewer.model_copy(update={"buses": (unknown, *others), "revision": 2})
    say(stack, Down.CONFIG, signed(key, ConfigOrder(site=broken, issued_at_ms=now_ms), controller_id=CONTROLLER))
    refusal = reply(stack, "2")
    assert refusal["state"] == "rejected"
    assert "'no-such-meter' is unknown" in refusal["reason"]

    wait_until_delivered(stack)
    assert_nothing_silent_doubled_or_altered(account_after(stack))
