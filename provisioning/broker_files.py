"""The directory of a Mosquitto broker: its configuration, its rights, and the logins that it knows."""

import contextlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from protocol import mosquitto
from provisioning import broker

HUB_USER = "hub"
CONFIGURATION = "mosquitto.conf"
_LOGINS = "logins.json"


@dataclass(frozen=True, slots=True)
class Login:
    """What a client of the broker needs to know."""

    host: str
    port: int
    username: str
    password: str

    @property
    def url(self) -> str:
        """The address as the hub's METERHAUL_BROKER_URL takes it."""
        return f"mqtt://{self.username}:{self.password}@{self.host}:{self.port}"


class BrokerFiles:
    """All that Mosquitto reads, in one directory. Passwords are made here and kept, readable by us alone."""

    def __init__(
        self,
        directory: Path,
        *,
        host: str,
        port: int,
        hub_port: int,
        subscriber_port: int,
        run_as: str | None = None,
    ) -> None:
        """Describe the files; `port` is the controllers', `run_as` the account that a broker started by root takes."""
        self.directory = directory.absolute()
        self.host = host
        self.port = port
        self.hub_port = hub_port
        self.subscriber_port = subscriber_port
        self._run_as = run_as

    @property
    def configuration(self) -> Path:
        """The file that `mosquitto -c` takes."""
        return self.directory / CONFIGURATION

    @property
    def logins_file(self) -> Path:
        """The file that keeps the passwords."""
        return self.directory / _LOGINS

    @property
    def hub(self) -> Login:
        """The login of the hub's processes; made when it is first asked for."""
        return Login(self.host, self.hub_port, HUB_USER, self._password_of(HUB_USER))

    def knows(self, controller_id: str) -> bool:
        """Say whether the controller has a login."""
        return controller_id in self._passwords()

    def login_of(self, controller_id: str) -> Login:
        """Return a controller's login; made when it is first asked for, known to the broker after `write`."""
        return Login(self.host, self.port, controller_id, self._password_of(controller_id))

    def write(self) -> None:
        """Write every file anew, each in one step. A broker that runs reads logins and rights again on SIGHUP.

        Raises: OSError.
        """
        self._password_of(HUB_USER)
        hashes = {
            username: mosquitto.hash_password(password, secrets.token_bytes(mosquitto.SALT_BYTES))
            for username, password in self._passwords().items()
        }
        hub_hash = hashes.pop(HUB_USER)
        controllers = self._listener("controllers", self.port, forces_client_id=True)
        hub = self._listener("hub", self.hub_port, forces_client_id=False)
        _write_private(controllers.password_file, mosquitto.render_passwords(hashes))
        _write_private(controllers.acl_file, broker.render_controller_acl())
        _write_private(hub.password_file, mosquitto.render_passwords({HUB_USER: hub_hash}))
        _write_private(hub.acl_file, broker.render_hub_acl(HUB_USER))
        subscribers = broker.Listener(
            port=self.subscriber_port,
            host=self.host,
            password_file=self.directory / mosquitto.SUBSCRIBER_PASSWORDS,
            acl_file=self.directory / mosquitto.SUBSCRIBER_RIGHTS,
            # Nobody evicts another, and no subscriber an agent, whose ids have no @.
            forces_client_id=True,
        )
        for kept in (subscribers.password_file, subscribers.acl_file):
            # The hub writes them; without them Mosquitto would not start.
            if not kept.exists():
                _write_private(kept, "")
        configuration = broker.render_configuration(
            [controllers, hub, subscribers],
            user=self._run_as,
            process_id_file=self.directory / mosquitto.PROCESS_ID,
        )
        _write_private(self.configuration, configuration)

    def _listener(self, name: str, port: int, *, forces_client_id: bool) -> broker.Listener:
        return broker.Listener(
            port=port,
            host=self.host,
            password_file=self.directory / f"{name}.passwords",
            acl_file=self.directory / f"{name}.acl",
            forces_client_id=forces_client_id,
        )

    def _passwords(self) -> dict[str, str]:
        with contextlib.suppress(FileNotFoundError):
            return dict(json.loads(self.logins_file.read_text()))
        return {}

    def _password_of(self, username: str) -> str:
        passwords = self._passwords()
        if username not in passwords:
            passwords[username] = secrets.token_urlsafe(24)
            _write_private(self.logins_file, json.dumps(passwords))
        return passwords[username]


def _write_private(path: Path, text: str) -> None:
    """Replace a file in one step; only we may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.touch(mode=0o600)
    unfinished.write_text(text)
    unfinished.replace(path)
