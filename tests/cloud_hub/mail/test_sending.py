"""Letters go out through a real mail server: none is lost, none goes more than once too often."""

import os
import signal
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from random import Random
from threading import Event
from urllib.parse import quote

import pytest
from mail_sink import PASSWORD, USER, MailSink
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from cloud_hub.errors import Conflict
from cloud_hub.mail.backoff import TRIED_FOR, wait_after
from cloud_hub.mail.models import OutgoingMail
from cloud_hub.mail.sending import forget_old, send_due
from cloud_hub.mail.service import queue_mail, resend
from cloud_hub.settings import PostOffice, parse_smtp_url
from demo.certificates import ThrowAwayCa
from demo.processes import free_port

FROM = "Meterhaul <hub@example.org>"


def _office(sink: MailSink, scheme: str = "smtp", login: str = "", options: str = "") -> PostOffice:
    return parse_smtp_url(f"{scheme}://{login}127.0.0.1:{sink.port}{options}", FROM)


def _queue(session: Session, *recipients: str) -> None:
    for recipient in recipients:
        queue_mail(session, recipient, subject="Grüße", body="Open https://hub/secret\n")
    session.commit()


def _letter(session: Session) -> OutgoingMail:
    session.expire_all()
    return session.scalars(select(OutgoingMail)).one()


def test_a_letter_goes_out_and_its_secret_is_forgotten(engine: Engine, session: Session) -> None:
    _queue(session, "ann@example.org")
    with MailSink() as sink:
        assert send_due(engine, _office(sink)) is False
        assert send_due(engine, _office(sink)) is False
    (sent,) = sink.letters
    assert (sent["From"], sent["To"], sent["Subject"]) == (FROM, "ann@example.org", "Grüße")
    assert sent.get_content().split() == ["Open", "https://hub/secret"]
    assert sent["Auto-Submitted"] == "auto-generated"
    letter = _letter(session)
    assert (letter.body, letter.problem, letter.attempts) == ("", None, 1)
    assert sent["Message-ID"] == f"<{letter.key}@example.org>"
    with pytest.raises(Conflict, match="forgotten"):
        resend(session, letter.id)


def test_a_letter_waits_while_the_server_is_away(engine: Engine, session: Session) -> None:
    _queue(session, "ann@example.org")
    away = parse_smtp_url(f"smtp://127.0.0.1:{free_port()}", FROM)
    assert send_due(engine, away) is False
    letter = _letter(session)
    assert letter.problem is not None
    assert "the mail server 127.0.0.1:" in letter.problem
    assert letter.due_at > datetime.now(UTC) + timedelta(seconds=10)
    with MailSink() as sink:
        send_due(engine, _office(sink))
        assert sink.letters == []  # not due yet
        resend(session, letter.id)
        session.commit()
        send_due(engine, _office(sink))
    assert len(sink.letters) == 1


def test_a_refusal_for_good_is_given_up_and_one_for_now_is_not(engine: Engine, session: Session) -> None:
    _queue(
        session, "gone@example.org", "full@example.org", "ann@example.org", "no\nheader@example.org", "ä@example.org"
    )
    with MailSink() as sink:
        sink.refusals = {"gone@example.org": "550 no such user", "full@example.org": "452 mailbox full"}
        send_due(engine, _office(sink))
    assert [letter["To"] for letter in sink.letters] == ["ann@example.org", "ä@example.org"]
    session.expire_all()
    letters = {letter.recipient: letter for letter in session.scalars(select(OutgoingMail))}
    assert letters["gone@example.org"].problem == "the mail server answered 550 no such user"
    assert letters["full@example.org"].problem == "the mail server answered 452 mailbox full"
    given_up = {recipient for recipient, letter in letters.items() if letter.given_up_at is not None}
    assert given_up == {"gone@example.org", "no\nheader@example.org"}
    session.execute(update(OutgoingMail).values(queued_at=datetime.now(UTC) - TRIED_FOR * 2, due_at=datetime.now(UTC)))
    session.commit()
    with MailSink() as sink:
        sink.refusals = {"full@example.org": "452 mailbox full"}
        send_due(engine, _office(sink))
    session.expire_all()
    assert letters["full@example.org"].given_up_at is not None


def test_waits_grow_to_hours_and_no_further() -> None:
    waits = [wait_after(attempts, Random(attempts)) for attempts in range(1, 40)]
    assert timedelta(seconds=24) <= waits[0] <= timedelta(seconds=30)
    assert all(timedelta(0) < wait <= timedelta(hours=4) for wait in waits)
    assert waits[-1] >= timedelta(hours=3)


def test_two_senders_share_the_letters(engine: Engine, session: Session) -> None:
    _queue(session, *(f"p{number}@example.org" for number in range(20)))
    with MailSink() as sink, ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: send_due(engine, _office(sink)), range(2)))
    assert sorted(letter["To"] for letter in sink.letters) == sorted(f"p{number}@example.org" for number in range(20))


def test_a_sender_killed_before_it_noted_the_sending_repeats_once_under_the_same_id(
    engine: Engine, session: Session, database_url: str, tmp_path: Path
) -> None:
    _queue(session, "ann@example.org")
    program = tmp_path / "send.py"
    program.write_text(
        "import sys\nfrom cloud_hub.db import create_engine\nfrom cloud_hub.mail.sending import send_due\n"
        "from cloud_hub.settings import parse_smtp_url\n"
        "send_due(create_engine(sys.argv[1]), parse_smtp_url(sys.argv[2], 'hub@example.org'))\n",
        encoding="utf-8",
    )
    with MailSink() as sink:
        url = f"smtp://127.0.0.1:{sink.port}"
        sender = subprocess.Popen([sys.executable, program, database_url, url], cwd=Path.cwd())
        killed = Event()

        def kill(_letter: EmailMessage) -> None:
            if not killed.is_set():
                os.kill(sender.pid, signal.SIGKILL)  # taken, and the sender does not live to hear it
                killed.set()

        sink.taken = kill
        assert killed.wait(60)
        assert sender.wait(10) == -signal.SIGKILL
        assert _letter(session).sent_at is None
        for _ in range(3):
            send_due(engine, parse_smtp_url(url, "hub@example.org"))
    assert len(sink.letters) == 2
    assert len({letter["Message-ID"] for letter in sink.letters}) == 1
    assert _letter(session).sent_at is not None


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a mail server's certificate and the authority that gave it."""
    directory = tmp_path_factory.mktemp("mail-tls")
    ThrowAwayCa(directory).issue("mail", hosts=["127.0.0.1"])
    return directory


def _server_side(tls: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls / "mail.pem", tls / "mail.key")
    return context


@pytest.mark.parametrize("scheme", ["smtps", "smtp"])
def test_letters_and_passwords_go_through_tls(
    engine: Engine, session: Session, tls: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    _queue(session, "ann@example.org")
    context = _server_side(tls)
    given = {"tls": context} if scheme == "smtps" else {"starttls": context}
    options = "" if scheme == "smtps" else "?tls=starttls"
    login = f"{USER}:{quote(PASSWORD, safe='')}@"
    with MailSink(login=True, **given) as sink:
        send_due(engine, _office(sink, scheme, login, options))
        assert "certificate" in (_letter(session).problem or "")  # nobody we know gave it
    with MailSink(login=True, **given) as sink:
        monkeypatch.setenv("SSL_CERT_FILE", str(tls / "ca.pem"))
        resend(session, _letter(session).id)
        session.commit()
        send_due(engine, _office(sink, scheme, f"{USER}:wrong@", options))
        assert "535" in (_letter(session).problem or "")
        assert _letter(session).given_up_at is None  # the settings are at fault, not the letter
        resend(session, _letter(session).id)
        session.commit()
        send_due(engine, _office(sink, scheme, login, options))
    assert [letter["To"] for letter in sink.letters] == ["ann@example.org"]


def test_where_tls_is_demanded_nothing_goes_without(engine: Engine, session: Session) -> None:
    _queue(session, "ann@example.org")
    with MailSink() as sink:
        send_due(engine, _office(sink, options="?tls=starttls"))
    assert sink.letters == []
    assert "STARTTLS" in (_letter(session).problem or "")


def test_old_letters_are_forgotten(engine: Engine, session: Session) -> None:
    _queue(session, "old@example.org", "waiting@example.org")
    old = datetime.now(UTC) - timedelta(days=31)
    session.execute(update(OutgoingMail).values(queued_at=old))
    session.execute(update(OutgoingMail).where(OutgoingMail.recipient == "old@example.org").values(sent_at=old))
    session.commit()
    forget_old(engine)
    assert session.scalars(select(OutgoingMail.recipient)).all() == ["waiting@example.org"]
