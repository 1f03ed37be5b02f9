"""The mail server: one connection, letters one after the other, and what its refusals mean."""

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate
from types import TracebackType
from typing import Self

from cloud_hub.mail.models import OutgoingMail
from cloud_hub.settings import PostOffice, SmtpSecurity

_TIMEOUT_S = 30.0
_PERMANENT = 500


class NotDelivered(Exception):
    """A letter did not go; the message says why."""


class LetterRefused(NotDelivered):
    """The server will not take this letter, now or later."""


class PostOfficeAway(NotDelivered):
    """The server is not there, or does not want us: no letter would go just now."""


class Connection:
    """A connection to the mail server, opened with the `with` block. Blocks, for half a minute at most each time."""

    def __init__(self, post_office: PostOffice) -> None:
        """Note where the server is; nothing is opened yet."""
        self._office = post_office
        self._smtp: smtplib.SMTP | None = None

    def __enter__(self) -> Self:
        """Connect, begin TLS and log in.

        Raises: PostOfficeAway.
        """
        office = self._office
        try:
            self._smtp = self._connect()
            if office.security is SmtpSecurity.STARTTLS:
                self._smtp.starttls(context=ssl.create_default_context())
            if office.user is not None:
                self._smtp.login(office.user, office.password.get_secret_value() if office.password else "")
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            raise PostOfficeAway(f"the mail server {office} cannot be used: {_say(error)}") from error
        return self

    def _connect(self) -> smtplib.SMTP:
        office = self._office
        if office.security is SmtpSecurity.TLS:
            return smtplib.SMTP_SSL(office.host, office.port, timeout=_TIMEOUT_S, context=ssl.create_default_context())
        return smtplib.SMTP(office.host, office.port, timeout=_TIMEOUT_S)

    def send(self, letter: OutgoingMail) -> None:
        """Hand a letter over.

        Raises: LetterRefused, PostOfficeAway, NotDelivered for what may go later.
        """
        if self._smtp is None:
            raise PostOfficeAway("there is no connection to the mail server")
        try:
            self._smtp.send_message(write_message(letter, self._office.sender))
        except smtplib.SMTPRecipientsRefused as error:
            code, said = next(iter(error.recipients.values()))
            raise _refusal(code, said) from error
        except smtplib.SMTPDataError as error:
            raise _refusal(error.smtp_code, error.smtp_error) from error
        except (ValueError, smtplib.SMTPNotSupportedError) as error:  # no such address, or letters it cannot carry
            raise LetterRefused(f"it cannot be written as a letter: {error}") from error
        except (OSError, smtplib.SMTPException) as error:
            # Also a refused sender: that is for the operator to mend, and no letter's fault.
            raise PostOfficeAway(f"the mail server {self._office} broke off: {_say(error)}") from error

    def close(self) -> None:
        """Take leave, if there is anybody to take leave of."""
        smtp, self._smtp = self._smtp, None
        if smtp is None:
            return
        try:
            smtp.quit()
        except (OSError, smtplib.SMTPException):
            smtp.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_message(letter: OutgoingMail, sender: str) -> EmailMessage:
    """Write a letter as mail servers take it. The same letter always has the same Message-ID.

    Raises: ValueError for an address or subject that cannot stand in a header.
    """
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, letter.recipient, letter.subject
    message["Date"] = formatdate(letter.queued_at.timestamp())
    message["Message-ID"] = f"<{letter.key}@{sender.rpartition('@')[2].rstrip('>')}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.body)
    return message


def _refusal(code: int, said: bytes | str) -> NotDelivered:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    kind = LetterRefused if code >= _PERMANENT else NotDelivered
    return kind(f"the mail server answered {code} {' '.join(text.split())}")


def _say(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        return f"it answered {error.smtp_code} {said.decode(errors='replace') if isinstance(said, bytes) else said}"
    return str(error) or type(error).__name__
