"""What must not be guessed comes from the system's random source, which no seed repeats."""

import random
from collections.abc import Callable

import pytest
from browsing import EMAIL, PASSWORD
from flask import Flask
from sqlalchemy.orm import Session

from cloud_hub.tokens.credentials import draw_api_token, draw_refresh_token
from cloud_hub.users import recovery, sessions, totp
from cloud_hub.users.authentication import current_seal
from cloud_hub.users.models import User
from cloud_hub.users.service import create_admin

DRAWS: dict[str, Callable[[Session, User], str]] = {
    "login": lambda session, user: sessions.begin(session, user, address="", user_agent=""),
    "secret of an authenticator": lambda session, user: totp.enrol(session, user, current_seal()),
    "recovery codes": lambda session, user: " ".join(recovery.draw(session, user.id)),
    "API token": lambda _session, _user: draw_api_token("0123456789ab")[0],
    "refresh token": lambda _session, _user: draw_refresh_token()[0],
}


@pytest.mark.parametrize("name", DRAWS)
def test_no_seed_repeats_a_secret(name: str, app: Flask, session: Session) -> None:
    user, drawn = create_admin(session, EMAIL, PASSWORD), set()
    with app.app_context():
        for _ in range(3):
            random.seed(7)
            drawn.add(DRAWS[name](session, user))
    assert len(drawn) == 3


def test_ten_recovery_codes_have_120_bits_each(session: Session) -> None:
    codes = recovery.draw(session, create_admin(session, EMAIL, PASSWORD).id)
    assert len(set(codes)) == 10
    # 24 letters of an alphabet of 32.
    assert {len(code.replace("-", "")) * 5 for code in codes} == {120}
