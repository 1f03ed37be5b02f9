"""What the buffer's thread is asked to do, and how whoever asked gets the answer."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.buffer.store import BufferStore
from protocol.scans import Gap, Scan


@dataclass(slots=True)
class Job:
    """Something for the buffer's thread to do, and the future that its caller awaits."""

    do: Callable[[BufferStore], Any]
    answer: asyncio.Future[Any]
    contents: Sequence[Scan | Gap] | None = None
    """Set for an append, which may share its transaction with the next ones."""
    fills: bool = False
    """Whether room may be needed afterwards, as after an append."""


def grouped(jobs: Sequence[Job]) -> list[list[Job]]:
    """Put appends that follow each other together; everything else stays alone."""
    groups: list[list[Job]] = []
    for job in jobs:
        if groups and job.contents is not None and groups[-1][-1].contents is not None:
            groups[-1].append(job)
        else:
            groups.append([job])
    return groups


def answer(future: asyncio.Future[Any], *, result: object = None, error: Exception | None = None) -> None:
    """Settle a future of whichever event loop awaits it, from the buffer's thread."""

    def settle() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    try:
        future.get_loop().call_soon_threadsafe(settle)
    except RuntimeError:
        # The loop was closed while the disk was busy: nobody waits any more.
        return
