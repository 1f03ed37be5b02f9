"""Who may give orders: each is checked against the hub's public keys before anything is made of it."""

import asyncio
import sys
from collections.abc import Mapping

from edge_agent.control.signature_check import FORGED, GENUINE, SIGNATURE_BYTES
from edge_agent.errors import AgentError
from protocol.control import Signed, signed_bytes
from protocol.topics import Down

_CHECK_TIMEOUT_S = 60.0
"""A first import from a slow card takes seconds."""


class OrderRefused(AgentError):
    """An order is not carried out; the message says why, for the hub's people."""


class SignatureCheckFailed(AgentError):
    """Whether an order is signed could not be found out now."""


class Signatures:
    """Tells genuine orders of one controller from others."""

    def __init__(self, *, controller_id: str, keys: Mapping[str, bytes], allow_unsigned: bool) -> None:
        """`keys` are raw public keys by their key id; only a local file may allow unsigned orders."""
        self._controller_id, self._keys, self._allow_unsigned = controller_id, keys, allow_unsigned

    async def require_genuine(self, kind: Down, order: Signed) -> None:
        """Return when the order may be followed.

        Raises: OrderRefused; SignatureCheckFailed.
        """
        if not order.key_id and not order.signature:
            if self._allow_unsigned:
                return
            raise OrderRefused("it is not signed, and the controller's agent.toml does not allow that")
        key = self._keys.get(order.key_id)
        if key is None:
            known = ", ".join(self._keys) or "none"
            raise OrderRefused(
                f"it is signed with the key {order.key_id[:64]!r}, and orders.keys of the controller's agent.toml "
                f"names {known}"
            )
        if len(order.signature) != SIGNATURE_BYTES:
            raise OrderRefused(f"its signature has {len(order.signature)} bytes instead of {SIGNATURE_BYTES}")
        if not await _is_genuine(key, order.signature, signed_bytes(kind, self._controller_id, order.body)):
            raise OrderRefused("its signature does not fit: it was changed, or made for another controller")


async def _is_genuine(key: bytes, signature: bytes, message: bytes) -> bool:
    """Ask the process that knows the library.

    Raises: SignatureCheckFailed.
    """
    try:
        check = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # nothing is imported from the directory that the agent happens to stand in
            "-m",
            "edge_agent.control.signature_check",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise SignatureCheckFailed(f"cannot start the process that checks signatures ({error.strerror})") from error
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            _, said = await check.communicate(key + signature + message)
    except TimeoutError:
        raise SignatureCheckFailed(f"the check of a signature took longer than {_CHECK_TIMEOUT_S:g} s") from None
    finally:
        if check.returncode is None:
            check.kill()
            await check.wait()
    if check.returncode not in {GENUINE, FORGED}:
        last = said.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {check.returncode}"]
        raise SignatureCheckFailed(f"signatures cannot be checked: {last[0]}; install meterhaul[edge] anew")
    return check.returncode == GENUINE
