"""The page of one's own account does what the API does, and says what went wrong where it did."""

import re

from account_factories import authenticator_of, code_of, submit
from browsing import PASSWORD, log_in
from flask import Flask
from flask.testing import FlaskClient

from cloud_hub.users.account_pages import device_of


def test_an_authenticator_is_set_up_and_switched_off_on_the_page(client: FlaskClient, app: Flask) -> None:
    refused = submit(client, "/account/totp", password="a wrong guess")
    assert refused.status_code == 422
    assert "The password is wrong" in refused.text

    begun = submit(client, "/account/totp", password=PASSWORD)
    assert "<svg" in begun.text
    assert "style=" not in begun.text
    secret = re.search(r'class="secret">([A-Z2-7]+)<', begun.text)
    assert secret is not None
    again = submit(client, "/account/totp/confirmation", code="000000")
    assert again.status_code == 422
    assert secret[1] in again.text
    authenticator = authenticator_of(f"otpauth://totp/x?secret={secret[1]}")
    confirmed = submit(client, "/account/totp/confirmation", code=code_of(authenticator))
    assert len(re.findall(r"<code>[a-z2-7-]{29}</code>", confirmed.text)) == 10
    assert "10 recovery codes left" in client.get("/account").text

    drawn = submit(client, "/account/recovery-codes", password=PASSWORD)
    assert len(re.findall(r"<code>[a-z2-7-]{29}</code>", drawn.text)) == 10
    assert submit(client, "/account/totp/removal", password=PASSWORD).location == "/account?done=totp-off"
    assert log_in(app.test_client()).location == "/"


def test_password_and_logins_are_looked_after_on_the_page(client: FlaskClient, app: Flask) -> None:
    other = app.test_client()
    log_in(other)
    assert "this one" in client.get("/account").text
    [other_id] = re.findall(r"/account/sessions/(\d+)/end", client.get("/account").text)
    assert submit(client, f"/account/sessions/{other_id}/end").location == "/account?done=session"
    assert other.get("/").status_code == 302
    assert submit(client, f"/account/sessions/{other_id}/end").status_code == 422

    log_in(other)
    assert submit(client, "/account/sessions/end").location == "/account?done=sessions"
    assert other.get("/").status_code == 302

    weak = submit(client, "/account/password", password=PASSWORD, new_password="1234567890")
    assert weak.status_code == 422
    assert "tried first" in weak.text
    changed = submit(client, "/account/password", password=PASSWORD, new_password="a much better secret")
    assert changed.location == "/account?done=password"
    assert client.get("/account").status_code == 200


def test_every_form_of_the_page_carries_the_token(client: FlaskClient) -> None:
    forms = re.findall(r"<form.*?</form>", client.get("/account").text, re.DOTALL)
    assert len(forms) == 4
    assert all('name="csrf_token"' in form for form in forms)
    for path in ("profile", "password", "totp", "totp/confirmation", "totp/removal", "recovery-codes", "sessions/end"):
        assert client.post(f"/account/{path}", data={"password": PASSWORD}).status_code == 400


def test_a_browser_is_named_for_people() -> None:
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    phone = (
        "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36"
    )
    assert device_of(firefox) == "Firefox on Linux"
    assert device_of(phone) == "Chrome on Android"
    assert device_of("curl/8.5") == "curl/8.5"
    assert device_of("") == "Unknown program"
