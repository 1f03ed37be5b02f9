"""The encrypted line: its certificates, and the session that makes the next connection cheaper."""

import ssl
from pathlib import Path
from socket import socket
from typing import Any

from edge_agent.errors import SettingsError


class ResumingContext(ssl.SSLContext):
    """A client's context that offers the broker the session of the last connection.

    The MQTT client never does so by itself. Resumed, a connection costs about half the bytes: no
    certificates travel. What is remembered is in memory only, and a broker that forgot it simply asks
    for the certificates again.
    """

    _session: ssl.SSLSession | None = None
    newest: ssl.SSLSocket | None = None
    """The last line that was begun, its handshake done or not."""

    def wrap_socket(  # noqa: PLR0917 - the signature is the standard library's
        self,
        sock: socket,
        server_side: bool = False,  # noqa: FBT001, FBT002 - likewise
        do_handshake_on_connect: bool = True,  # noqa: FBT001, FBT002 - likewise
        suppress_ragged_eofs: bool = True,  # noqa: FBT001, FBT002 - likewise
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        """Wrap a connected socket, with the remembered session."""
        self.newest = super().wrap_socket(
            sock,
            server_side=server_side,
            do_handshake_on_connect=do_handshake_on_connect,
            suppress_ragged_eofs=suppress_ragged_eofs,
            server_hostname=server_hostname,
            session=session or self._session,
        )
        return self.newest

    def remember(self, line: Any) -> None:  # noqa: ANN401 - whatever the MQTT client calls its socket
        """Keep the session of a line on which the broker has spoken: it sends what it takes after the handshake."""
        if isinstance(line, ssl.SSLSocket) and line.session is not None:
            self._session = line.session

    def forget(self) -> None:
        """Offer nothing the next time, in case that it was the session that the broker did not like."""
        self._session = None


def make_tls_context(*, ca: Path | None, cert: Path | None, key: Path | None) -> ResumingContext:
    """Load the certificates of an encrypted connection; `ca` None trusts the system's.

    Raises: SettingsError.
    """
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if ca is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cafile=str(ca))
        if cert is not None:
            context.load_cert_chain(str(cert), str(key) if key else None)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(file) for file in (ca, cert, key) if file)
        raise SettingsError(
            f"broker.tls: cannot load {files} ({error.strerror or error}): check that they are PEM files that belong together"
        ) from error
    return context
