"""What an earlier run of the same boot knew of UTC, as the buffer keeps it."""

from edge_agent.buffer.store import BufferStore
from edge_agent.clock.clock import Anchor


def anchor_of(store: BufferStore) -> Anchor | None:
    """Return it; None when no run of this boot kept one."""
    if not store.get_state("anchor_ms") or store.get_state("anchor_boot") != _boot_number(store):
        return None
    at_monotonic_ms = store.get_state("anchor_monotonic_ms")
    return Anchor(store.get_state("anchor_ms") - at_monotonic_ms, at_monotonic_ms)


def keep_anchor(store: BufferStore, anchor: Anchor) -> None:
    """Keep it. Raises: sqlite3.Error."""
    store.put_states(
        {
            "anchor_boot": _boot_number(store),
            "anchor_ms": anchor.offset_ms + anchor.at_monotonic_ms,
            "anchor_monotonic_ms": anchor.at_monotonic_ms,
        }
    )


def _boot_number(store: BufferStore) -> int:
    """Return the boot's id as far as a whole number of the file can hold it; it is random, so that is enough."""
    return int.from_bytes(store.live_stream.boot_id[:8], "big") >> 1
