"""A client of the API as anybody can have one: generated from the hub's document, with nothing added by hand."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = "meterhaul_client"
_BIN = Path(sys.executable).parent


def generate(directory: Path) -> Path:
    """Generate the client below a directory, and return the folder that its package lies in.

    Fails when there is anything in the document that the generator leaves out.
    """
    document = directory / "openapi.json"
    document.write_bytes(_run("meterhaul", "hub", "openapi"))
    folder = directory / "client"
    _run("openapi-python-client", "generate", "--path", document, "--output-path", folder, "--fail-on-warning")
    return folder


def _run(command: str, *arguments: str | Path) -> bytes:
    env = os.environ | {
        "METERHAUL_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}",  # the generator tidies up with ruff
    }
    done = subprocess.run([_BIN / command, *arguments], env=env, capture_output=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout.decode()[:5000]}{done.stderr.decode()[-5000:]}"
    return done.stdout


class GeneratedClient:
    """Asks a hub by the generated package; `token` stays out for what strangers may do."""

    def __init__(self, base_url: str, token: str | None = None) -> None:
        client = importlib.import_module(f"{PACKAGE}.client")
        self._client: Any = (
            client.Client(base_url, raise_on_unexpected_status=True)
            if token is None
            else client.AuthenticatedClient(base_url, token, raise_on_unexpected_status=True)
        )

    def ask(self, operation: str, *path: object, **arguments: Any) -> Any:
        """Run an operation such as `sites.sites_api_get_site`; return what it answers."""
        return self.ask_detailed(operation, *path, **arguments).parsed

    def ask_detailed(self, operation: str, *path: object, **arguments: Any) -> Any:
        """Run an operation; return status, headers and what it answers."""
        return _module(f"api.{operation}").sync_detailed(*path, client=self._client, **arguments)

    def close(self) -> None:
        """Close the connections."""
        self._client.get_httpx_client().close()


def model(name: str) -> Any:
    """Return a shape's class."""
    return getattr(_module("models"), name)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{PACKAGE}.{name}")
