"""Child processes that end with us, the wait for what they do, and ports for them to listen on."""

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from demo.errors import MissingProgram, NotReady

Seen = TypeVar("Seen")

_POLL_S = 0.02
_PORTS = range(20_000, 32_000)
"""Below the range from which the kernel takes the ports of outgoing connections (32768 and up): a port
that we hand out stays free while the program on it is down between a kill and its restart."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 on which nothing listens now."""
    for port in random.SystemRandom().sample(_PORTS, 200):
        with socket.socket() as probe:
            # As servers do, so that connections of a past server in TIME_WAIT do not count as taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise NotReady(f"no free TCP port was found between {_PORTS.start} and {_PORTS.stop - 1}: stop what holds them")


def accepts_connections(port: int, host: str = "127.0.0.1") -> bool:
    """Say whether something listens there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def wait_until(condition: Callable[[], Seen], timeout_s: float, what: str) -> Seen:
    """Ask `condition` until its answer is true, and return that answer.

    `what` names the awaited thing and ends the sentence "waited 10 s in vain for …".
    Raises: NotReady when the time is over; whatever `condition` raises.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        seen = condition()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise NotReady(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(_POLL_S)


class Process:
    """One supervised child with a log file of its own, in a session of its own: a Ctrl-C reaches only us.

    The kernel sends the child `death_signal` when the *thread* that started it ends, a kill -9 included:
    start processes from a thread that lives as long as they shall. The default ends the child for
    certain; a program with children of its own needs a signal that it can answer.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log_file: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        """Describe the child; nothing runs yet.

        `env` is added to our own environment. `user` needs root.
        """
        self.name = name
        self.argv = [str(part) for part in argv]
        self.log_file = log_file
        self._env = {**os.environ, **(env or {})}
        self._cwd = cwd
        self._user = user
        self._stop_signal = stop_signal
        self._death_signal = death_signal
        self._child: subprocess.Popen[bytes] | None = None
        self._is_group_ended = True

    def start(self) -> None:
        """Start the child unless it runs; does not wait until it is ready.

        Raises: MissingProgram.
        """
        if self.is_running:
            return
        if shutil.which(self.argv[0]) is None:
            raise MissingProgram(f"{self.name}: the program {self.argv[0]} is not installed")
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._child = subprocess.Popen(
                [*self._launcher(), *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
            )
        self._is_group_ended = False

    @property
    def is_running(self) -> bool:
        """Say whether the child lives."""
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the child that runs or ran last.

        Raises: NotReady when there was none.
        """
        if self._child is None:
            raise NotReady(f"{self.name} was never started")
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """How the last run ended: the exit code, or minus the signal; None while it runs or when there was none."""
        return None if self._child is None else self._child.poll()

    def wait(self, timeout_s: float) -> int:
        """Wait for the end and return the exit code.

        Raises: NotReady.
        """
        wait_until(lambda: not self.is_running, timeout_s, f"the end of {self.name}")
        return self.returncode or 0

    def stop(self, timeout_s: float = 10) -> None:
        """Ask the child to end; kill it and all in its session's group when it has not after `timeout_s`."""
        if self._child is None:
            return
        if self.is_running:
            self._child.send_signal(self._stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """End the child and all in its group at once, with SIGKILL."""
        # Once only: later, the kernel may have given the group's number to someone else.
        if self._child is None or self._is_group_ended:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._is_group_ended = True

    def restart(self) -> None:
        """Stop, then start."""
        self.stop()
        self.start()

    def require_running(self) -> bool:
        """Return True; made for the condition of a wait, which shall not go on for a child that ended.

        Raises: NotReady with the child's last words.
        """
        if self.is_running:
            return True
        raise NotReady(f"{self.name} ended with {self.returncode}; its log {self.log_file} ends: {self.last_words()}")

    def last_words(self, lines: int = 5) -> str:
        """Return the end of the log as one line."""
        if not self.log_file.exists():
            return "(no log)"
        text = self.log_file.read_text(errors="replace").strip().splitlines()[-lines:]
        return " | ".join(text) or "(empty log)"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launcher(self) -> list[str]:
        # setpriv (util-linux, in every Debian and Ubuntu) becomes the child by exec, so that the process id
        # is the child's. A preexec_fn would do the same but may deadlock where threads run, as they do here.
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise MissingProgram("the program setpriv is not installed; type: apt-get install util-linux")
        launcher = [setpriv, "--pdeathsig", self._death_signal.name]
        if self._user is not None:
            launcher += ["--reuid", self._user, "--regid", _primary_group(self._user), "--init-groups"]
        return [*launcher, "--"]


def _primary_group(user: str) -> str:
    return str(pwd.getpwnam(user).pw_gid)
