"""Ask the agent that runs on this controller."""

import json
import socket
from pathlib import Path
from typing import Any

from edge_agent.errors import AgentError
from edge_agent.local.address import short_address

_ANSWER_WITHIN_S = 120.0
"""A meter that is read waits for its bus."""


class NotRunning(AgentError):
    """No agent answers at the socket."""


def ask_agent(path: Path, **question: str) -> dict[str, Any]:
    """Ask the running agent one question and return its answer.

    Raises: NotRunning; AgentError when it refuses, or we may not ask.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, short_address(path) as address:
            connection.settimeout(_ANSWER_WITHIN_S)
            connection.connect(address)
            connection.sendall(json.dumps(question).encode() + b"\n")
            with connection.makefile("rb") as lines:
                answer: dict[str, Any] = json.loads(lines.readline())
    except PermissionError:
        raise AgentError(f"{path} may not be opened by you; run this with sudo, or as the agent's user") from None
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        raise NotRunning(f"no agent answers at {path}; start it: systemctl start meterhaul-edge") from None
    except TimeoutError:
        raise AgentError(f"the agent did not answer at {path} within {_ANSWER_WITHIN_S:.0f} s; see its log") from None
    except (OSError, ValueError):
        raise NotRunning(f"the agent at {path} ended while it was asked; try again") from None
    if "error" in answer:
        raise AgentError(str(answer["error"]))
    return answer
