"""Where no mail server is set, an operator reads the letters and passes them on."""

import json

import pytest
from sqlalchemy import func, update
from sqlalchemy.orm import Session

from cloud_hub.cli import main
from cloud_hub.mail.models import OutgoingMail
from cloud_hub.mail.service import queue_mail


@pytest.fixture(autouse=True)
def _letter(session: Session, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METERHAUL_DATABASE_URL", database_url)
    queue_mail(session, "ann@example.org", subject="Invitation to Main", body="Open https://hub/invitation/abc\n")
    session.commit()


def test_letters_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mail", "list"]) == 0
    shown = capsys.readouterr().out
    assert "No mail server is set (METERHAUL_SMTP_URL)" in shown
    assert "waiting   ann@example.org  Invitation to Main" in shown
    assert "/invitation/abc" not in shown
    assert main(["mail", "list", "--json"]) == 0
    (letter,) = json.loads(capsys.readouterr().out)
    assert main(["mail", "show", str(letter["id"])]) == 0
    assert "https://hub/invitation/abc" in capsys.readouterr().out
    assert main(["mail", "show", "999"]) == 1
    assert "there is no letter 999" in capsys.readouterr().err


def test_what_was_given_up_is_tried_again(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    session.execute(update(OutgoingMail).values(given_up_at=func.now(), problem="550 no such user"))
    session.commit()
    main(["mail", "list", "--json"])
    (letter,) = json.loads(capsys.readouterr().out)
    assert (letter["state"], letter["problem"]) == ("given up", "550 no such user")
    assert main(["mail", "resend", str(letter["id"])]) == 0
    assert "is due again" in capsys.readouterr().out
    main(["mail", "list", "--json"])
    assert json.loads(capsys.readouterr().out)[0]["state"] == "waiting"
