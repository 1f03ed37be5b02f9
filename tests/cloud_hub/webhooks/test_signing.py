"""Receivers check signatures with the libraries of Standard Webhooks."""

import json
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from cloud_hub.webhooks.signing import make_secret, sign

BODY = '{"type":"meter.made","data":{"name":"Zähler"}}'.encode()


def test_an_independent_library_accepts_what_we_sign() -> None:
    secret = make_secret()
    headers = dict(sign([secret], "msg_1", int(time.time()), BODY))
    assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)


def test_while_secrets_overlap_either_is_enough() -> None:
    old, new = make_secret(), make_secret()
    headers = dict(sign([new, old], "msg_1", int(time.time()), BODY))
    for secret in (old, new):
        Webhook(secret).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(make_secret()).verify(BODY, headers)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
def test_what_names_a_message_is_signed_too(name: str) -> None:
    secret, now = make_secret(), int(time.time())
    headers = dict(sign([secret], "msg_1", now, BODY)) | {name: str(now + 1)}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, headers)


def test_the_example_of_the_specification_has_its_signature() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = sign([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
