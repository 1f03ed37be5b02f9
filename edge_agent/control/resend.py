"""Deliver a range again on the hub's command."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

from edge_agent.buffer.streams import StoredStream
from edge_agent.control.commands import Deed, parse_arguments
from edge_agent.errors import AgentError
from protocol.command_arguments import ResendArguments
from protocol.control import Command
from protocol.ranges import Range


class StreamUnknown(AgentError):
    """A stream that is not, or no longer, held here."""


class Resender(Protocol):
    """Who delivers; `edge_agent.uplink.forwarder` does."""

    def resend(self, stream_id: bytes, numbers: Range) -> None:
        """Send these numbers again. Raises KeyError for an unknown stream."""


def prepare_resend(
    command: Command, *, streams: Callable[[], Awaitable[list[StoredStream]]], forwarder: Resender
) -> Deed:
    """Check the arguments.

    Raises: OrderRefused.
    """
    return partial(_resend, parse_arguments(ResendArguments, command), streams, forwarder)


async def _resend(
    arguments: ResendArguments, streams: Callable[[], Awaitable[list[StoredStream]]], forwarder: Resender
) -> dict[str, Any]:
    stream_id = bytes.fromhex(arguments.stream)
    held = next((stream for stream in await streams() if stream.stream_id == stream_id), None)
    first, last = arguments.first, arguments.last
    if held is None:
        raise StreamUnknown(f"stream {arguments.stream} is not held here any more, or never was")
    last = min(last, held.next - 1)
    if first > last:
        raise StreamUnknown(f"stream {arguments.stream} ends at {held.next - 1}: there is no {first} yet")
    try:
        forwarder.resend(stream_id, Range(first, last))
    except KeyError:
        raise StreamUnknown(f"stream {arguments.stream} is not delivered any more") from None
    return {"stream": arguments.stream, "first": first, "last": last, "lowest_held": held.lowest_held}
