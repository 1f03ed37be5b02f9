"""From bytes to a batch that can be judged: count the attempt, decode, or name why it cannot be.

Attempts are counted before anything looks at a batch's content, because content may kill the process.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog
from sqlalchemy import Engine, text

from cloud_hub.ingest.decode import DecodedBatch, decode, digest_of
from cloud_hub.ingest.reasons import QuarantineReason
from protocol import codec
from protocol.codec import BatchHeader
from protocol.errors import LimitExceeded, ProtocolError, UnsupportedVersion

ATTEMPTS_MAX = 3
"""The attempt at which a batch that was never finished is put aside unseen."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReceivedBatch:
    """A batch as it came."""

    controller_id: str
    payload: bytes
    digest: bytes
    is_replay: bool = False
    """It comes from quarantine."""

    @classmethod
    def of(cls, controller_id: str, payload: bytes) -> "ReceivedBatch":
        """Take in a payload."""
        return cls(controller_id, payload, digest_of(payload))


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a batch goes to quarantine."""

    reason: QuarantineReason
    detail: str


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """A batch that is decoded, or refused. At least one of `content` and `refusal` is set."""

    received: ReceivedBatch
    header: BatchHeader | None = None
    """None when not even the envelope could be read."""
    content: DecodedBatch | None = None
    refusal: Refusal | None = None

    def refused(self, reason: QuarantineReason, detail: str) -> "PreparedBatch":
        """Return the same batch with a reason not to store it."""
        return replace(self, content=None, refusal=Refusal(reason, detail))


def prepare(received: ReceivedBatch) -> PreparedBatch:
    """Decode a batch; what cannot be decoded is refused, never raised."""
    header: BatchHeader | None = None
    try:
        envelope = codec.decode_envelope(received.payload)
        header = codec.header_of(envelope)
        return PreparedBatch(received, header, decode(envelope))
    except UnsupportedVersion as error:
        reason, detail = QuarantineReason.UNSUPPORTED_VERSION, str(error)
    except LimitExceeded as error:
        reason, detail = QuarantineReason.LIMIT_EXCEEDED, str(error)
    except ProtocolError as error:
        reason, detail = QuarantineReason.MALFORMED, str(error)
    except Exception as error:
        # Whatever a hostile batch makes our decoder do, the batch is kept and the others go on.
        log.exception("batch_decoder_failed", controller_id=received.controller_id)
        reason, detail = QuarantineReason.MALFORMED, f"the decoder failed: {error!r}"
    return PreparedBatch(received, header, refusal=Refusal(reason, detail))


def put_aside(received: ReceivedBatch, attempt: int) -> PreparedBatch:
    """Refuse a batch unseen, but for its envelope: a range is needed, and nothing there is inflated."""
    try:
        header = codec.header_of(codec.decode_envelope(received.payload))
    except ProtocolError:
        header = None
    detail = f"attempt {attempt}, and none before was finished"
    return PreparedBatch(received, header, refusal=Refusal(QuarantineReason.KILLED_PROCESS, detail))


# The table is unlogged, so these commits wait for no disk.
_BEGIN = text(
    "INSERT INTO ingest_attempts (digest, attempts) "
    "SELECT DISTINCT digest, 1 FROM unnest(CAST(:digests AS bytea[])) AS d (digest) ORDER BY digest "
    "ON CONFLICT DO NOTHING RETURNING digest"
)
_BEGIN_AGAIN = text(
    "INSERT INTO ingest_attempts (digest, attempts) VALUES (:digest, 1) "
    "ON CONFLICT (digest) DO UPDATE SET attempts = ingest_attempts.attempts + 1, last_at = now() RETURNING attempts"
)


def begin_attempts(engine: Engine, batches: Sequence[ReceivedBatch]) -> set[bytes]:
    """Count the first attempt at each batch; return the digests of those of which none was open."""
    with engine.begin() as connection:
        digests = connection.scalars(_BEGIN, {"digests": [batch.digest for batch in batches]})
        return {bytes(digest) for digest in digests}


def begin_another_attempt(engine: Engine, batch: ReceivedBatch) -> int:
    """Count one more attempt at a batch that was begun and never finished; return how many that makes."""
    with engine.begin() as connection:
        return int(connection.execute(_BEGIN_AGAIN, {"digest": batch.digest}).scalar_one())
