"""Messages arrive once while all is well, again while it is not, and one receiver never waits for another."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from standardwebhooks import Webhook as Verifier
from webhook_factories import (
    add_webhook,
    age,
    attempts,
    deliver_all,
    make_due,
    reload,
    states,
    tell_and_queue,
)
from webhook_receiver import receiving

from cloud_hub.webhooks.delivering import Courier, give_up_waiting, purge_deliveries
from cloud_hub.webhooks.models import WebhookSecret
from cloud_hub.webhooks.signing import make_secret


def test_messages_arrive_in_order_signed_and_once(engine: Engine, session: Session) -> None:
    secret = make_secret()
    with receiving() as receiver:
        add_webhook(session, receiver.url, secret=secret)
        tell_and_queue(engine, session, "a.made", "b.made", "c.made")
        deliver_all(engine, receiver)
    messages = [Verifier(secret).verify(one.body, one.headers) for one in receiver.received]
    assert [message["type"] for message in messages] == ["a.made", "b.made", "c.made"]
    assert len(set(receiver.ids)) == 3
    assert states(session) == ["delivered"] * 3
    assert attempts(session) == [(204, "")] * 3


def test_a_message_that_failed_is_repeated_under_its_id(engine: Engine, session: Session) -> None:
    with receiving() as receiver:
        statuses = [500, 204]
        receiver.answer = lambda _handler, _received: statuses.pop(0)
        webhook = add_webhook(session, receiver.url)
        tell_and_queue(engine, session)
        deliver_all(engine, receiver)
        assert states(session) == ["waiting"]
        assert len(receiver.received) == 1  # not before it is due
        assert reload(session, webhook).failing_since is not None
        make_due(session)
        deliver_all(engine, receiver)
    assert len(set(receiver.ids)) == 1
    assert len(receiver.ids) == 2
    assert states(session) == ["delivered"]
    assert [status for status, _ in attempts(session)] == [500, 204]
    assert reload(session, webhook).failing_since is None


def test_a_receiver_that_fails_rests_however_much_waits_for_it(engine: Engine, session: Session) -> None:
    with receiving() as receiver:
        receiver.answer = lambda _handler, _received: 500
        add_webhook(session, receiver.url)
        tell_and_queue(engine, session, *["meter.made"] * 20)
        deliver_all(engine, receiver)
    assert len(receiver.received) == 1


def test_a_message_fails_for_good_after_a_day(engine: Engine, session: Session) -> None:
    with receiving() as receiver:
        receiver.answer = lambda _handler, _received: 500
        add_webhook(session, receiver.url)
        tell_and_queue(engine, session)
        age(session, "webhook_deliveries", "queued_at", "25 hours")
        deliver_all(engine, receiver)
        assert states(session) == ["failed"]
        make_due(session)
        deliver_all(engine, receiver)
    assert len(receiver.received) == 1


def test_what_waited_for_a_day_unsent_fails_too(engine: Engine, session: Session) -> None:
    webhook = add_webhook(session, "https://example.org/")
    tell_and_queue(engine, session)
    reload(session, webhook).is_active = False
    session.commit()
    assert give_up_waiting(engine) == 0
    age(session, "webhook_deliveries", "queued_at", "25 hours")
    assert give_up_waiting(engine) == 1
    assert states(session) == ["failed"]


@pytest.mark.parametrize(
    ("status", "since", "said"),
    [(500, "73 hours", "nothing arrived for 3 days"), (410, "0 hours", "410 Gone")],
    ids=["three days", "gone"],
)
def test_a_receiver_that_is_no_more_is_switched_off_and_said_so(
    engine: Engine, session: Session, status: int, since: str, said: str
) -> None:
    with receiving() as receiver:
        receiver.answer = lambda _handler, _received: status
        webhook = add_webhook(session, receiver.url)
        tell_and_queue(engine, session, "a.made", "b.made")
        webhook.failing_since = session.scalar(text("SELECT now()"))
        session.commit()
        age(session, "webhooks", "failing_since", since)
        deliver_all(engine, receiver)
        make_due(session)
        deliver_all(engine, receiver)
    webhook = reload(session, webhook)
    assert not webhook.is_active
    assert said in str(webhook.disabled_reason)
    assert len(receiver.received) == 1
    (event,) = session.execute(text("SELECT data, subject FROM events WHERE kind = 'webhook.disabled'"))
    assert event.subject == f"webhook:{webhook.id}"
    assert event.data["reason"] == webhook.disabled_reason
    assert session.scalars(text("SELECT action FROM audit_events")).all() == ["webhook_disabled"]


def test_one_that_failed_for_less_is_left_on(engine: Engine, session: Session) -> None:
    with receiving() as receiver:
        receiver.answer = lambda _handler, _received: 500
        webhook = add_webhook(session, receiver.url)
        tell_and_queue(engine, session)
        webhook.failing_since = session.scalar(text("SELECT now() - interval '71 hours'"))
        session.commit()
        deliver_all(engine, receiver)
    assert reload(session, webhook).is_active


def test_both_secrets_sign_while_they_overlap(engine: Engine, session: Session) -> None:
    oldest, old, new = make_secret(), make_secret(), make_secret()
    with receiving() as receiver:
        webhook = add_webhook(session, receiver.url, secret=oldest)
        session.add(WebhookSecret(webhook_id=webhook.id, secret=old))
        session.flush()
        soon = session.scalar(text("SELECT now() + interval '1 hour'"))
        session.add(WebhookSecret(webhook_id=webhook.id, secret=new, overlap_until=soon))
        tell_and_queue(engine, session)
        deliver_all(engine, receiver)
        age(session, "webhook_secrets", "overlap_until", "2 hours")
        tell_and_queue(engine, session)
        deliver_all(engine, receiver)
    signatures = [one.headers["webhook-signature"].split() for one in receiver.received]
    assert [len(several) for several in signatures] == [2, 1]
    for one, secret in zip([*receiver.received[:1] * 2, receiver.received[1]], [old, new, new], strict=True):
        assert Verifier(secret).verify(one.body, one.headers) == json.loads(one.body)


def test_a_slow_receiver_keeps_no_other_waiting_and_is_sent_to_by_one_at_a_time(
    engine: Engine, session: Session
) -> None:
    is_over = threading.Event()
    with receiving() as slow, receiving() as quick, ThreadPoolExecutor(2) as pool:
        slow.answer = lambda _handler, _received: 204 if is_over.wait(30) else 500
        first = add_webhook(session, slow.url)
        tell_and_queue(engine, session, "a.made", "b.made")
        courier = Courier(engine, slow.gate())
        stuck = pool.submit(courier.deliver_some)
        slow.wait_for(1)
        assert not courier.deliver_some()  # the slow one is taken, and nobody else is due
        add_webhook(session, quick.url)
        tell_and_queue(engine, session, "c.made")
        assert Courier(engine, quick.gate()).deliver_some()
        assert len(quick.received) == 1
        assert not stuck.done()
        is_over.set()
        assert stuck.result(30)
    assert len(slow.received) == 3
    assert reload(session, first).failures == 0


def test_a_receiver_known_to_be_slow_is_left_to_the_slow_lane(engine: Engine, session: Session) -> None:
    with receiving() as receiver:
        webhook = add_webhook(session, receiver.url)
        webhook.is_slow = True
        tell_and_queue(engine, session)
        courier = Courier(engine, receiver.gate())
        assert not courier.deliver_some(quick_only=True)
        assert courier.deliver_some()
    assert not reload(session, webhook).is_slow  # it was quick this time


def test_many_workers_send_each_message_once(engine: Engine, session: Session) -> None:
    with receiving() as receiver, ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            add_webhook(session, receiver.url)
        tell_and_queue(engine, session, *["meter.made"] * 10)
        list(pool.map(lambda _: deliver_all(engine, receiver), range(4)))
    assert len(receiver.ids) == len(set(receiver.ids)) == 30
    assert states(session) == ["delivered"] * 30


def test_a_webhook_that_is_removed_while_it_is_sent_to_hurts_nobody(engine: Engine, session: Session) -> None:
    with receiving() as receiver:
        webhook = add_webhook(session, receiver.url)

        def remove(_handler: object, _received: object) -> int:
            session.delete(reload(session, webhook))
            session.commit()
            return 500

        receiver.answer = remove
        tell_and_queue(engine, session)
        deliver_all(engine, receiver)
    assert (states(session), attempts(session)) == ([], [])


def test_the_log_is_kept_for_thirty_days(engine: Engine, session: Session) -> None:
    with receiving() as receiver:
        add_webhook(session, receiver.url)
        tell_and_queue(engine, session, "old.made")
        deliver_all(engine, receiver)
        age(session, "webhook_deliveries", "queued_at", "721 hours")
        tell_and_queue(engine, session, "new.made")
        deliver_all(engine, receiver)
    assert purge_deliveries(engine) == 1
    assert states(session) == ["delivered"]
    assert len(attempts(session)) == 1
