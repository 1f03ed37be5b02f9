"""Who holds a serial port: the kernel tells, as far as we may ask."""

import os
from pathlib import Path

from edge_agent.errors import AgentError, BusUnreachable

_PROC = Path("/proc")
_SERVICE = "meterhaul-edge"
_AGENT = "edge run"


def explain_port(device: str, error: BusUnreachable) -> AgentError:
    """Say why a port cannot be used and what to do; a missing one names those that are there."""
    if "another program uses it" in str(error):
        return AgentError(f"{device} is in use by {_user_text(find_user(device))}")
    if "is missing" in str(error):
        return AgentError(f"{device} is not there; {ports_text()}")
    if "may not be opened" in str(error):
        return AgentError(f"{device} may not be opened; run this with sudo, or add your user to the group dialout")
    return AgentError(str(error))


def list_ports() -> list[str]:
    """List the serial ports by the names that stay."""
    folder = Path("/dev/serial/by-id")
    by_id = sorted(str(path) for path in folder.iterdir()) if folder.is_dir() else []
    return by_id or sorted(
        str(path) for pattern in ("ttyUSB*", "ttyACM*", "ttyAMA*") for path in Path("/dev").glob(pattern)
    )


def ports_text() -> str:
    """Say which serial ports there are."""
    ports = list_ports()
    if not ports:
        return "no serial port is to be seen: plug the adapter in, and look at the end of `dmesg`"
    return f"there {'is' if len(ports) == 1 else 'are'} {', '.join(ports)}"


def find_user(device: str) -> tuple[int, str] | None:
    """Return process id and command line of who has a device open, the agent first; None when it cannot be seen."""
    wanted = os.path.realpath(device)
    users = [
        (int(process.name), _command_of(process))
        for process in _PROC.iterdir()
        if process.name.isdecimal() and int(process.name) != os.getpid() and _has_open(process, wanted)
    ]
    return min(users, key=lambda user: _AGENT not in user[1], default=None)


def _user_text(user: tuple[int, str] | None) -> str:
    stop = f"stop it first: systemctl stop {_SERVICE}"
    if user is None:
        return f"another program; if it is the agent, {stop}"
    process_id, command = user
    if _AGENT in command:
        return f"the agent (process {process_id}); {stop}"
    return f"process {process_id} ({command[:80]}); end it first"


def _has_open(process: Path, wanted: str) -> bool:
    try:
        return any(os.path.realpath(link) == wanted for link in (process / "fd").iterdir())
    except OSError:  # not ours to see, or gone meanwhile
        return False


def _command_of(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "?"
