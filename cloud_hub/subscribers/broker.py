"""Bring the broker's subscribers in step with the database: two files, and a signal to read them again.

Mosquitto reads them again within a tenth of a second, throws out who is connected with a password that is no
longer right, and judges each message that it delivers by the new rights. Its dynamic security plugin was weighed
and left: it takes passwords in clear only, so that a broker which lost its state could be told again only by
somebody who keeps passwords.
"""

import os
import signal
from contextlib import suppress
from pathlib import Path

import structlog
from sqlalchemy import Engine

from cloud_hub.subscribers.grants import load_grants, note_applied, render_grants
from protocol.mosquitto import PROCESS_ID, SUBSCRIBER_PASSWORDS, SUBSCRIBER_RIGHTS

_PROGRAM = "mosquitto"
_MODE = 0o640

log = structlog.get_logger(__name__)


class BrokerLogins:
    """A duty: `bring_in_step`, as often as wanted. It writes only what has changed, whoever changed it."""

    def __init__(self, directory: Path, processes: Path = Path("/proc")) -> None:
        """Describe the broker by the directory that `meterhaul provision broker` made."""
        self._directory = directory
        self._processes = processes
        self._told: tuple[int, str, str] | None = None
        """Which process of the broker was told to read what."""

    def bring_in_step(self, engine: Engine) -> None:
        """Write what the database wants, and let the broker know; one that was started anew is told again.

        Raises: OSError when the directory cannot be written, or the broker may not be signalled; next time it is
        tried again.
        """
        grants = load_grants(engine)
        passwords, rights = render_grants(grants)
        # Rights first: a login that is known already never has more than it is meant to.
        is_changed = _replace(self._directory / SUBSCRIBER_RIGHTS, rights)
        is_changed |= _replace(self._directory / SUBSCRIBER_PASSWORDS, passwords)
        if is_changed:
            self._told = None
            log.info("broker_logins_written", logins=len(grants))
        broker = self._find_broker()
        if broker is not None and self._told != (broker, passwords, rights):
            with suppress(ProcessLookupError):
                os.kill(broker, signal.SIGHUP)
            self._told = broker, passwords, rights
        # A broker that is not found here reads the files when it starts, or is told by whoever looks after it.
        note_applied(engine, grants)

    def _find_broker(self) -> int | None:
        """Return the broker's process id; None when it does not run on this machine."""
        try:
            pid = int((self._directory / PROCESS_ID).read_text())
            program = (self._processes / str(pid) / "comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        # A number that a broker left behind may be another program's by now.
        return pid if program == _PROGRAM else None


def _replace(path: Path, text: str) -> bool:
    """Replace a file in one step, unless it says that already; return whether it did not. Its group may read it."""
    with suppress(FileNotFoundError):
        if path.read_text() == text:
            return False
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=_MODE)
    unfinished.write_text(text)
    unfinished.replace(path)
    return True
