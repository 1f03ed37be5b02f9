"""An operator changes the key that signs access tokens."""

import json

import pytest
from flask.testing import FlaskClient
from sqlalchemy.orm import Session
from token_factories import bearer, log_in_app, make_person

from cloud_hub.cli import main


def test_a_new_key_signs_and_the_old_tokens_are_good_until_they_are_revoked(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    database_url: str,
    stranger: FlaskClient,
    session: Session,
) -> None:
    monkeypatch.setenv("METERHAUL_DATABASE_URL", database_url)
    make_person(session)
    first = bearer(log_in_app(stranger)["access_token"])
    assert main(["token-key"]) == 0
    assert "1 keys sign no more." in capsys.readouterr().out
    second = bearer(log_in_app(stranger)["access_token"])
    assert len(stranger.get("/.well-known/jwks.json").get_json()["keys"]) == 2
    assert [stranger.get("/api/v1/sites", headers=one).status_code for one in (first, second)] == [200, 200]
    assert main(["token-key", "--revoke", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ended": 2, "revoked": True}
    assert [stranger.get("/api/v1/sites", headers=one).status_code for one in (first, second)] == [401, 401]
