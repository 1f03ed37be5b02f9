"""The hub's web process on a free port, for tests that need the real thing."""

import http.client
import os
import signal
import sys
from pathlib import Path

import psutil

from demo.processes import Process, accepts_connections, free_port, wait_until

_PROGRAM = """
import sys
from cloud_hub.serve import serve
from cloud_hub.settings import load_settings
serve(load_settings(), host="127.0.0.1", port=int(sys.argv[1]), create_key=True)
"""


class ServedHub:
    """A web process; it is ready when `start` returns."""

    def __init__(self, database_url: str, directory: Path) -> None:
        self.port = free_port()
        self.log_file = directory / "serve.log"
        self.process = Process(
            "serve",
            [sys.executable, "-c", _PROGRAM, str(self.port)],
            log_file=self.log_file,
            env={"METERHAUL_DATABASE_URL": database_url, "METERHAUL_SECRET_KEY_FILE": str(directory / "secret-key")},
        )

    def start(self) -> None:
        """Start, and wait until the port answers."""
        self.process.start()
        wait_until(
            lambda: self.process.require_running() and len(self.workers()) == 2 and accepts_connections(self.port),
            30,
            "the web process",
        )

    def end(self) -> int:
        """Ask for the end as a service manager does; the workers are left to the main process."""
        os.kill(self.process.pid, signal.SIGTERM)
        return self.process.wait(15)

    def workers(self) -> list[psutil.Process]:
        """Return the processes that the main process started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def get(self, path: str) -> tuple[int, bytes]:
        """Ask once, over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()
