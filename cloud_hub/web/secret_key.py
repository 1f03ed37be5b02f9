"""The key that signs session cookies: a file that only the hub's user may read."""

import os
import secrets
from pathlib import Path

from cloud_hub.errors import SettingsError

_BYTES = 32


def create_secret_key(path: Path) -> bool:
    """Write a new random key, readable by its owner only; answer False when the file is there already.

    Raises: SettingsError when the file cannot be written.
    """
    # A link makes the finished file appear at once: of two processes that start together one wins,
    # and nobody ever reads half a key.
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_private(fresh, secrets.token_hex(_BYTES) + "\n")
        try:
            os.link(fresh, path)
        except FileExistsError:
            return False
        finally:
            fresh.unlink()
    except OSError as error:
        raise SettingsError(f"the secret key file {path} cannot be written: {error.strerror}") from error
    return True


def read_secret_key(path: Path) -> bytes:
    """Read the key.

    Raises: SettingsError when there is none, or one too short to be safe.
    """
    try:
        key = path.read_bytes().strip()
    except FileNotFoundError as error:
        raise SettingsError(
            f"the secret key file {path} does not exist: make it with 'meterhaul hub serve --create-key'"
        ) from error
    except OSError as error:
        raise SettingsError(f"the secret key file {path} cannot be read: {error.strerror}") from error
    if len(key) < _BYTES:
        raise SettingsError(
            f"the secret key file {path} holds fewer than {_BYTES} bytes: remove it, then make one with 'meterhaul hub serve --create-key'"
        )
    return key


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
