"""What this run of the agent is: its release, and the boot it runs in."""

import secrets
import uuid
from functools import cache
from importlib.metadata import version
from pathlib import Path

_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


@cache
def agent_version() -> str:
    """Return the release that is installed."""
    return version("meterhaul")


@cache
def read_boot_id() -> bytes:
    """Return 16 bytes that the kernel draws at each boot; random ones where it does not tell."""
    try:
        return uuid.UUID(_BOOT_ID_FILE.read_text(encoding="ascii").strip()).bytes
    except (OSError, ValueError):
        return secrets.token_bytes(16)
