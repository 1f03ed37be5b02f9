"""Sizes that no message may exceed. Both sides refuse more, before they take memory for it."""

BATCH_BYTES_MAX = 64 * 1024
"""A batch as it travels, envelope included."""

BODY_BYTES_MAX = 1024 * 1024
"""A batch's body after decompression."""

SEQUENCES_PER_BATCH_MAX = 10_000
"""Sequence numbers that one batch may cover, gap records included."""

MESSAGE_BYTES_MAX = 256 * 1024
"""Any message that is not a batch, as it travels."""

MESSAGE_RAW_BYTES_MAX = 4 * 1024 * 1024
"""A compressed message that is not a batch, after decompression: the manifest of a collector with 1,000 sites."""

RANGES_PER_STREAM_MAX = 256
"""Ranges that an acknowledgement or a hello names for one stream. Naming fewer is always safe."""

STREAMS_PER_HELLO_MAX = 1_000

SEQUENCE_MAX = 2**53 - 1

OBSERVED_AT_MS_MIN = 946_684_800_000
"""2000-01-01T00:00:00Z. Nothing that this system records is older."""

OBSERVED_AT_MS_MAX = 4_102_444_800_000
"""2100-01-01T00:00:00Z."""
