"""People with accounts, their authenticators, and how they use the pages and the API of their own account."""

import time
from typing import Any

import pyotp
from browsing import PASSWORD, form_token
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from cloud_hub.access.models import Membership
from cloud_hub.access.permissions import Role
from cloud_hub.users import recovery, totp
from cloud_hub.users.authentication import current_seal
from cloud_hub.users.login_models import TotpSecret
from cloud_hub.users.models import User
from cloud_hub.users.passwords import hash_password
from cloud_hub.users.service import find_user_by_email

STEP_S = 30


def make_person(
    session: Session, email: str, *, password: str | None = PASSWORD, organisation_id: int = 1, role: Role = Role.VIEWER
) -> User:
    """Add somebody with a membership; commits."""
    user = User(email=email, name="", password_hash=None if password is None else hash_password(password))
    session.add(user)
    session.flush()
    session.add(Membership(user_id=user.id, organisation_id=organisation_id, role=role))
    session.commit()
    return user


def give_authenticator(app: Flask, session: Session, email: str) -> pyotp.TOTP:
    """Set up an authenticator as if it had been confirmed long ago; commits."""
    user = find_user_by_email(session, email)
    assert user is not None
    with app.test_request_context():
        uri = totp.enrol(session, user, current_seal())
    session.get_one(TotpSecret, user.id).confirmed_at = user.created_at
    session.commit()
    return authenticator_of(uri)


def give_recovery_codes(session: Session, email: str) -> list[str]:
    """Draw recovery codes; commits."""
    user = find_user_by_email(session, email)
    assert user is not None
    codes = recovery.draw(session, user.id)
    session.commit()
    return codes


def authenticator_of(uri: str) -> pyotp.TOTP:
    """Return what a phone makes of the URI in the QR code."""
    read = pyotp.parse_uri(uri)
    assert isinstance(read, pyotp.TOTP)
    return read


def code_of(authenticator: pyotp.TOTP, *, steps_ahead: int = 0) -> str:
    """Return the code of this moment, or one of a clock that is ahead: codes are good once each."""
    return str(authenticator.at(int(time.time()) + steps_ahead * STEP_S))


def submit(client: FlaskClient, path: str, **fields: str | list[str]) -> TestResponse:
    """Send a form with its token."""
    return client.post(path, data={"csrf_token": form_token(client), **fields})


def call(client: FlaskClient, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
    """Call the API with the session's token."""
    sent = {"X-CSRF-Token": form_token(client), **{name.replace("_", "-"): value for name, value in headers.items()}}
    return client.open(f"/api/v1{path}", method=method, json=body, headers=sent)
