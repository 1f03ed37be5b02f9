"""A private Mosquitto whose controllers come over TLS 1.3 with certificates, as on a cellular line.

The hub's processes have a plain door of their own on 127.0.0.1.
"""

import os
import pwd
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

from demo.certificates import KeyPair, ThrowAwayCa
from demo.mosquitto import Login, find_mosquitto
from demo.processes import Process, accepts_connections, free_port, wait_until
from protocol import mosquitto
from provisioning import broker

_HUB = "hub"
_START_TIMEOUT_S = 20


class TlsMosquitto:
    """One broker; use it as a context manager. What it needs is written to a directory of its own."""

    def __init__(self, directory: Path, *, host: str = "127.0.0.1") -> None:
        """Describe the broker; `host` is the address for controllers.

        Raises: DemoError when certificates cannot be made.
        """
        self.host = host
        self.port, self.hub_port = free_port(), free_port()
        self.ca = ThrowAwayCa(directory / "ca")
        self._directory = directory
        self._server = self.ca.issue("broker", hosts=[host])
        self._password = secrets.token_urlsafe(24)
        self._process = Process("mosquitto", [find_mosquitto(), "-c", self._file("conf")], log_file=self._file("log"))

    @property
    def hub(self) -> Login:
        """The login of the hub's processes."""
        return Login("127.0.0.1", self.hub_port, _HUB, self._password)

    def issue(self, controller_id: str) -> KeyPair:
        """Make the certificate by which a controller is known."""
        return self.ca.issue(controller_id)

    def start(self) -> None:
        """Write the files, start, and return when it accepts connections.

        Raises: DemoError.
        """
        self._write()
        self._process.start()
        wait_until(
            lambda: (
                self._process.require_running()
                and accepts_connections(self.hub_port)
                and accepts_connections(self.port, self.host)
            ),
            _START_TIMEOUT_S,
            "Mosquitto to accept connections",
        )

    def stop(self) -> None:
        """End the broker in order."""
        self._process.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _file(self, suffix: str) -> Path:
        return self._directory / f"mosquitto.{suffix}"

    def _write(self) -> None:
        hub = broker.Listener(port=self.hub_port, password_file=self._file("passwords"), acl_file=self._file("hub.acl"))
        hashed = mosquitto.hash_password(self._password, secrets.token_bytes(mosquitto.SALT_BYTES))
        _write(hub.password_file, mosquitto.render_passwords({_HUB: hashed}))
        _write(hub.acl_file, broker.render_hub_acl(_HUB))
        _write(self._file("controllers.acl"), broker.render_controller_acl())
        ourselves = pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() == 0 else None
        _write(self._file("conf"), broker.render_configuration([hub], user=ourselves) + self._controllers_door())

    def _controllers_door(self) -> str:
        lines = [
            f"listener {self.port} {self.host}",
            f"cafile {self.ca.cert}",
            f"certfile {self._server.cert}",
            f"keyfile {self._server.key}",
            "tls_version tlsv1.3",
            "require_certificate true",
            "use_identity_as_username true",
            "use_username_as_clientid true",
            "allow_anonymous false",
            f"acl_file {self._file('controllers.acl')}",
        ]
        return "\n" + "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
