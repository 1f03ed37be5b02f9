"""Webhooks over the API: made, changed, tried, and seen by those alone who may."""

import threading
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from people_factories import Browser, add_person, add_site_of, add_tree
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session
from standardwebhooks import Webhook as Verifier
from webhook_factories import add_webhook, deliver_all, make_due, reload, states, tell, tell_and_queue
from webhook_receiver import receiving

from cloud_hub.access.permissions import Role
from cloud_hub.tenancy.scope import Scope, enter
from cloud_hub.webhooks import service
from cloud_hub.webhooks.addresses import Gate
from cloud_hub.webhooks.api import GATE
from cloud_hub.webhooks.models import WebhookSecret

URL = "https://example.org/hook"
ORGANISATION = "/organisations/main/webhooks"


@pytest.fixture
def boss(app: Flask, session: Session) -> Browser:
    """Log in a manager of the operator, where every name stands for a public address."""
    app.config[GATE] = Gate(resolve=lambda _host, _port: ["93.184.215.14"])
    add_person(session, "boss@example.org", 1, Role.MANAGER)
    session.commit()
    return Browser(app, "boss@example.org")


def read(browser: Browser, path: str) -> Any:
    return browser.get(path).json


def send(browser: Browser, path: str, body: dict[str, Any]) -> Any:
    return browser.post(path, body)


def edit(browser: Browser, path: str, body: dict[str, Any]) -> Any:
    return browser.edit(path, body)


def create(browser: Browser, path: str = ORGANISATION, **fields: Any) -> Any:
    answer = send(browser, path, {"name": "Billing", "url": URL} | fields)
    assert answer.status_code == 201, answer.text
    return answer.json


def audited(session: Session) -> list[str]:
    return list(session.scalars(text("SELECT action FROM audit_events WHERE action LIKE 'webhook%' ORDER BY id")))


def test_a_webhook_is_made_with_a_secret_that_is_shown_once(boss: Browser) -> None:
    made = create(boss, kinds=["meter.*"])
    assert made["secret"].startswith("whsec_")
    shown = read(boss, f"/webhooks/{made['id']}")
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert read(boss, ORGANISATION) == {"items": [shown], "next_cursor": None}


def test_the_web_cannot_read_a_secret(boss: Browser, web_engine: Engine) -> None:
    create(boss)
    with Session(web_engine) as session:
        enter(session, Scope(organisations=frozenset({1})))
        with pytest.raises(ProgrammingError, match="permission denied"):
            session.query(WebhookSecret).all()


def test_a_webhook_is_changed_by_who_has_seen_it(boss: Browser, session: Session) -> None:
    path = f"/webhooks/{create(boss)['id']}"
    seen = boss.etag(path)
    changed = edit(boss, path, {"name": "New", "kinds": ["site.*"], "is_active": False})
    assert (changed.json["name"], changed.json["kinds"], changed.json["is_active"]) == ("New", ["site.*"], False)
    assert boss.edit(path, {"name": "Lost"}, etag=seen).status_code == 412
    assert boss.delete(path, etag=seen).status_code == 412
    assert boss.delete(path).status_code == 204
    assert boss.get(path).status_code == 404
    assert audited(session) == ["webhook_created", "webhook_changed", "webhook_removed"]


def test_the_same_key_makes_one_webhook_and_shows_its_secret_once(boss: Browser) -> None:
    headers = {"X-CSRF-Token": boss._token, "Idempotency-Key": "once"}
    body = {"name": "Billing", "url": URL}
    made = [boss.client.post(f"/api/v1{ORGANISATION}", json=body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in made] == [201, 409]
    assert "its secret was shown then" in made[1].get_json()["detail"]
    assert len(read(boss, ORGANISATION)["items"]) == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"url": "http://example.org/"}, "must begin with https://"),
        ({"url": "https://user@example.org/"}, "user name or password"),
        ({"url": "https://example.org:22/"}, "the port 22"),
        ({"kinds": []}, "at least 1 item"),
        ({"kinds": ["Meter"]}, "match pattern"),
        ({"secret": "mine"}, "is not a key that belongs here"),
        ({"name": ""}, "at least 1 character"),
    ],
    ids=["http", "credentials", "port", "no kinds", "wrong kind", "unknown key", "no name"],
)
def test_what_cannot_be_is_refused_in_a_sentence(boss: Browser, fields: dict[str, Any], said: str) -> None:
    answer = send(boss, ORGANISATION, {"name": "Billing", "url": URL} | fields)
    assert answer.status_code == 422
    assert said in answer.json["detail"]


@pytest.mark.parametrize("number", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1"])
def test_an_address_that_leads_inwards_is_refused_when_made_and_when_changed(
    app: Flask, boss: Browser, number: str
) -> None:
    path = f"/webhooks/{create(boss)['id']}"
    app.config[GATE] = Gate(resolve=lambda _host, _port: [number])
    for answer in (send(boss, ORGANISATION, {"name": "Inner", "url": URL}), edit(boss, path, {"url": URL + "2"})):
        assert answer.status_code == 422
        assert "not a public address" in answer.json["detail"]


def test_an_organisation_has_so_many_webhooks_at_most(
    boss: Browser, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PER_ORGANISATION_MAX", 2)
    for _ in range(2):
        add_webhook(session, URL)
    assert boss.post(ORGANISATION, {"name": "One more", "url": URL}).status_code == 409


def test_sites_are_those_that_the_organisation_sees(app: Flask, boss: Browser, session: Session) -> None:
    tree = add_tree(session)
    ours = add_site_of(session, tree.customer.id, "ours")
    add_site_of(session, tree.other.id, "theirs")
    add_person(session, "both@example.org", tree.customer.id, Role.ADMIN)
    session.commit()
    made = create(boss, "/organisations/reseller/webhooks", sites=["ours"])
    assert made["site_ids"] == [ours.id]
    refused = edit(boss, f"/webhooks/{made['id']}", {"sites": ["theirs"]})
    assert (refused.status_code, "another organisation" in refused.json["detail"]) == (422, True)
    stranger = Browser(app, "both@example.org")
    answer = send(stranger, "/organisations/customer/webhooks", {"name": "x", "url": URL, "sites": ["theirs"]})
    assert answer.status_code == 404


def test_who_may_not_is_refused_and_who_does_not_see_finds_nothing(app: Flask, boss: Browser, session: Session) -> None:
    tree = add_tree(session)
    add_person(session, "viewer@example.org", 1, Role.VIEWER)
    add_person(session, "other@example.org", tree.other.id, Role.ADMIN)
    session.commit()
    made = create(boss)["id"]
    tell(session)
    ping = send(boss, f"/webhooks/{made}/ping", {}).json["id"]
    for email, status in (("viewer@example.org", 403), ("other@example.org", 404)):
        browser = Browser(app, email)
        answers = [
            browser.get(ORGANISATION),
            browser.post(ORGANISATION, {"name": "x", "url": URL}),
            browser.get(f"/webhooks/{made}"),
            browser.edit(f"/webhooks/{made}", {"name": "x"}),
            browser.delete(f"/webhooks/{made}"),
            browser.post(f"/webhooks/{made}/secret", {}),
            browser.post(f"/webhooks/{made}/ping", {}),
            browser.get(f"/webhooks/{made}/deliveries"),
            browser.get(f"/webhooks/{made}/deliveries/{ping}"),
            browser.post(f"/webhooks/{made}/deliveries/{ping}/resend", {}),
        ]
        assert [answer.status_code for answer in answers] == [status] * len(answers)


def test_a_test_message_and_what_came_back_stand_in_the_log(app: Flask, boss: Browser, engine: Engine) -> None:
    with receiving() as receiver:
        app.config[GATE] = receiver.gate()
        made = create(boss, url=receiver.url)
        path = f"/webhooks/{made['id']}"
        ping = send(boss, f"{path}/ping", {})
        assert (ping.status_code, ping.json["state"], ping.json["kind"]) == (202, "waiting", "ping")
        deliver_all(engine, receiver)
        message = Verifier(made["secret"]).verify(receiver.received[0].body, receiver.received[0].headers)
        assert message["data"]["asked_by"] == "boss@example.org"
        (item,) = read(boss, f"{path}/deliveries")["items"]
        detail = read(boss, f"{path}/deliveries/{item['id']}")
        assert (item["state"], detail["message_id"]) == ("delivered", receiver.ids[0])
        assert [(one["status"], one["problem"]) for one in detail["tried"]] == [(204, "")]
        assert boss.post(f"{path}/deliveries/{item['id']}/resend", {}).status_code == 202
        deliver_all(engine, receiver)
        assert len(read(boss, f"{path}/deliveries/{item['id']}")["tried"]) == 2
    assert receiver.ids[0] == receiver.ids[1]


def test_a_message_that_failed_for_good_can_be_sent_again(
    app: Flask, boss: Browser, engine: Engine, session: Session
) -> None:
    with receiving() as receiver:
        app.config[GATE] = receiver.gate()
        path = f"/webhooks/{create(boss, url=receiver.url)['id']}"
        tell_and_queue(engine, session)
        session.execute(text("UPDATE webhook_deliveries SET state = 'failed', queued_at = now() - interval '2 days'"))
        session.commit()
        (item,) = read(boss, f"{path}/deliveries?state=failed")["items"]
        assert boss.post(f"{path}/deliveries/{item['id']}/resend", {}).status_code == 202
        receiver.answer = lambda _handler, _received: 500
        deliver_all(engine, receiver)
        assert states(session) == ["waiting"]  # it has another day
        receiver.answer = lambda _handler, _received: 200
        make_due(session)
        deliver_all(engine, receiver)
    assert states(session) == ["delivered"]


def test_the_log_is_read_part_by_part_the_newest_first(boss: Browser, engine: Engine, session: Session) -> None:
    webhook = add_webhook(session, URL)
    tell_and_queue(engine, session, *[f"{letter}.made" for letter in "abcde"])
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        part = read(boss, f"/webhooks/{webhook.id}/deliveries?limit=2{cursor and '&cursor=' + cursor}")
        seen += [item["kind"] for item in part["items"]]
        cursor = part["next_cursor"]
    assert seen == [f"{letter}.made" for letter in "edcba"]


def test_a_message_of_another_webhook_is_not_found(boss: Browser, engine: Engine, session: Session) -> None:
    first, second = add_webhook(session, URL, kinds=("a.*",)), add_webhook(session, URL, kinds=("b.*",))
    tell_and_queue(engine, session, "a.made")
    (item,) = read(boss, f"/webhooks/{first.id}/deliveries")["items"]
    assert boss.get(f"/webhooks/{second.id}/deliveries/{item['id']}").status_code == 404


def test_a_new_secret_takes_over_from_the_old_one(app: Flask, boss: Browser, engine: Engine, session: Session) -> None:
    with receiving() as receiver:
        app.config[GATE] = receiver.gate()
        made = create(boss, url=receiver.url)
        secrets = [made["secret"]]
        for overlap in (1, 0):
            answer = send(boss, f"/webhooks/{made['id']}/secret", {"overlap_hours": overlap})
            assert answer.status_code == 201
            secrets.append(answer.json["secret"])
            tell_and_queue(engine, session)
            deliver_all(engine, receiver)
    signatures = [one.headers["webhook-signature"].split() for one in receiver.received]
    assert [len(several) for several in signatures] == [2, 1]
    for secret in secrets[:2]:
        Verifier(secret).verify(receiver.received[0].body, receiver.received[0].headers)
    Verifier(secrets[2]).verify(receiver.received[1].body, receiver.received[1].headers)
    assert audited(session) == ["webhook_created", "webhook_secret_rotated", "webhook_secret_rotated"]


def test_one_that_is_switched_off_is_not_tried_and_begins_anew_when_switched_on(
    boss: Browser, session: Session
) -> None:
    webhook = add_webhook(session, URL)
    session.execute(
        text(
            "UPDATE webhooks SET is_active = false, disabled_reason = 'gone', disabled_at = now(), "
            "failures = 9, failing_since = now(), rest_until = now() + interval '1 day'"
        )
    )
    session.commit()
    path = f"/webhooks/{webhook.id}"
    refused = send(boss, f"{path}/ping", {})
    assert (refused.status_code, "switch it on first" in refused.json["detail"]) == (409, True)
    shown = edit(boss, path, {"is_active": True}).json
    assert (shown["is_active"], shown["disabled_reason"], shown["disabled_at"]) == (True, None, None)
    fresh = reload(session, webhook)
    assert (fresh.failures, fresh.failing_since) == (0, None)
    assert boss.post(f"{path}/ping", {}).status_code == 202


def test_a_resolver_that_hangs_does_not_hang_the_page(
    app: Flask, boss: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over = threading.Event()
    monkeypatch.setattr("cloud_hub.webhooks.addresses.RESOLVE_WITHIN_S", 0.1)
    app.config[GATE] = replace(app.config[GATE], resolve=lambda _host, _port: [str(is_over.wait(30))])
    answer = send(boss, ORGANISATION, {"name": "Slow", "url": URL})
    is_over.set()
    assert (answer.status_code, "nobody says" in answer.json["detail"]) == (422, True)
