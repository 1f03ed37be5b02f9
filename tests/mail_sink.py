"""A real SMTP server for tests, which keeps what it is sent and refuses what it is told to."""

from collections.abc import Callable
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from ssl import SSLContext
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from demo.processes import free_port

USER, PASSWORD = "hub", "s:esame@!"


class MailSink:
    """Listens on 127.0.0.1 in the `with` block; `letters` are those that it took."""

    def __init__(
        self, *, tls: SSLContext | None = None, starttls: SSLContext | None = None, login: bool = False
    ) -> None:
        """Set up the server: with TLS from the first byte, with STARTTLS, with a login, or without."""
        self.letters: list[EmailMessage] = []
        self.refusals: dict[str, str] = {}
        """By recipient, what is answered instead of taking a letter, such as `550 no such user`."""
        self.taken: Callable[[EmailMessage], None] = lambda _letter: None
        """Called when a letter is taken, before that is said."""
        options: dict[str, Any] = {"tls_context": starttls, "require_starttls": starttls is not None}
        if login:
            options |= {
                "authenticator": _judge,
                "auth_required": starttls is not None,
                "auth_require_tls": starttls is not None,
            }
        self._server = Controller(self, hostname="127.0.0.1", port=free_port(), ssl_context=tls, timeout=30, **options)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.port)

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, _server: object, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take a recipient, or not."""
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 fine"

    async def handle_DATA(self, _server: object, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take a letter."""
        content = envelope.original_content or b""
        letter = BytesParser(EmailMessage, policy=default).parsebytes(content)
        self.letters.append(letter)
        self.taken(letter)
        return "250 taken"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()


def _judge(_server: object, _session: object, _envelope: object, _mechanism: str, given: LoginPassword) -> AuthResult:
    is_known = (given.login, given.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=is_known, handled=is_known)  # what is not handled is answered with 535
