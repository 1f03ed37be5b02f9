"""A private Mosquitto with the files that `provisioning` writes, as in production.

`python -m demo.mosquitto` installs the program where it is missing and that is allowed.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from demo.errors import DemoError, MissingProgram
from demo.processes import Process, accepts_connections, free_port, wait_until
from provisioning.broker_files import BrokerFiles, Login

__all__ = ["Login", "MissingBroker", "PrivateMosquitto", "ensure_installed", "find_mosquitto"]

_INSTALL_COMMAND = "apt-get install mosquitto"
_START_TIMEOUT_S = 20
_RELOADED = b"Reloading config."


class MissingBroker(MissingProgram):
    """Mosquitto is not installed, and we may not install it."""


class PrivateMosquitto:
    """One broker on three ports of 127.0.0.1: for controllers, the hub's processes, and subscribers."""

    def __init__(
        self, data_dir: Path, port: int | None = None, hub_port: int | None = None, subscriber_port: int | None = None
    ) -> None:
        """Describe the broker; nothing runs yet. Passwords are kept in `data_dir`, readable by us alone."""
        # Started by root, Mosquitto would change to an account that cannot read what is private to us.
        ourselves = pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() == 0 else None
        self.data_dir = data_dir.absolute()
        self.host = "127.0.0.1"
        self.port = port or free_port()
        self.hub_port = hub_port or free_port()
        self.subscriber_port = subscriber_port or free_port()
        self._files = BrokerFiles(
            self.data_dir,
            host=self.host,
            port=self.port,
            hub_port=self.hub_port,
            subscriber_port=self.subscriber_port,
            run_as=ourselves,
        )
        self._process: Process | None = None

    def start(self) -> None:
        """Write the configuration, start the broker, and return when it accepts connections.

        Raises: DemoError (its children MissingBroker and NotReady).
        """
        self._files.write()
        process = Process("mosquitto", [find_mosquitto(), "-c", self._files.configuration], log_file=self._log_file)
        self._process = process
        ports = (self.port, self.hub_port, self.subscriber_port)
        for port in ports:
            if accepts_connections(port):
                raise DemoError(f"port {port} of {self.host} is in use: end what listens there, or choose another")
        process.start()
        try:
            wait_until(
                lambda: process.require_running() and all(map(accepts_connections, ports)),
                _START_TIMEOUT_S,
                "Mosquitto to accept connections",
            )
        except DemoError:
            self.stop()
            raise

    def stop(self) -> None:
        """End the broker in order."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """Kill -9 the broker."""
        if self._process is not None:
            self._process.kill()

    def wipe(self) -> None:
        """Delete all that the broker wrote, as a lost disk would; the logins are ours and stay."""
        for path in self.data_dir.iterdir():
            if path != self._files.logins_file:
                path.unlink()

    @property
    def is_running(self) -> bool:
        """Say whether the broker lives."""
        return self._process is not None and self._process.is_running

    @property
    def files(self) -> Path:
        """The directory that the broker reads, for METERHAUL_BROKER_FILES."""
        return self._files.directory

    @property
    def pid(self) -> int:
        """The process id of the broker.

        Raises: DemoError when it was never started.
        """
        if self._process is None:
            raise DemoError("Mosquitto was never started")
        return self._process.pid

    @property
    def hub(self) -> Login:
        """The login of the hub's processes."""
        return self._files.hub

    @property
    def hub_url(self) -> str:
        """The address of the broker for METERHAUL_BROKER_URL."""
        return self.hub.url

    def add_controller(self, controller_id: str) -> Login:
        """Give a controller a login, or return the one it has; the broker knows it when this returns."""
        is_new = not self._files.knows(controller_id)
        login = self._files.login_of(controller_id)
        if is_new and self.is_running:
            self._files.write()
            self.await_reload(lambda: os.kill(self.pid, signal.SIGHUP))
        return login

    def await_reload(self, ask: Callable[[], object]) -> None:
        """Do what makes the broker read its files again, and wait until it has; one thread does all its work."""
        before = self._count_reloads()
        ask()
        wait_until(lambda: self._count_reloads() > before, 10, "Mosquitto to read its files again")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _log_file(self) -> Path:
        return self.data_dir / "mosquitto.log"

    def _count_reloads(self) -> int:
        return self._log_file.read_bytes().count(_RELOADED)


def find_mosquitto() -> Path:
    """Return the path of the program.

    Raises: MissingBroker.
    """
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise MissingBroker(f"the MQTT broker Mosquitto is not installed; type: sudo {_INSTALL_COMMAND}")
    return Path(found)


def ensure_installed() -> Path:
    """Return the path of the program, after installing it with apt when it is missing and we may.

    We may as root, and where sudo asks for no password. Debian then starts a broker of its own on
    port 1883; ours uses ports of its own and leaves that one alone.
    Raises: MissingBroker.
    """
    with contextlib.suppress(MissingBroker):
        return find_mosquitto()
    apt_get = _apt_get()
    print("Installing the MQTT broker Mosquitto ...", file=sys.stderr, flush=True)  # noqa: T201 - takes a while
    for action in (["update"], ["install", "--yes", "--no-install-recommends", "mosquitto"]):
        done = subprocess.run([*apt_get, "-qq", *action], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last_words = " ".join(done.stderr.split())[-300:]
            raise MissingBroker(
                f"apt-get could not install the MQTT broker Mosquitto ({last_words}); type: sudo {_INSTALL_COMMAND}"
            )
    return find_mosquitto()


def _apt_get() -> list[str]:
    """Return the command that runs apt-get with the rights to install and without questions.

    Raises: MissingBroker.
    """
    quietly = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    if shutil.which("apt-get") is None:
        raise MissingBroker(
            "the MQTT broker Mosquitto is not installed, and there is no apt-get here: "
            "install the package 'mosquitto' with this system's package manager"
        )
    if os.geteuid() == 0:
        return quietly
    sudo = shutil.which("sudo")
    if sudo is not None and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:
        return [sudo, "-n", *quietly]
    raise MissingBroker(f"the MQTT broker Mosquitto is not installed; type: sudo {_INSTALL_COMMAND}")


def main() -> int:
    """Install Mosquitto where it is missing; return the exit code."""
    try:
        ensure_installed()
    except MissingBroker as error:
        print(error, file=sys.stderr)  # noqa: T201 - speaks to a person
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
