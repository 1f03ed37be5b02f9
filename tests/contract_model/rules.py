"""The rules of the delivery contract, each with a name, so that a test can take one away."""

from enum import StrEnum, auto


class Rule(StrEnum):
    """One rule of the contract; its value is its name in lower case."""

    # The agent and its disk.
    STREAM_PER_START = auto()
    """Every start of an agent draws a new stream id."""
    FSYNC_BEFORE_SEND = auto()
    """A scan is on the disk before anything else may see it."""
    WAITING_KEEP_THEIR_NUMBERS = auto()
    """A scan that waits for a trusted clock has its number from the beginning."""
    WAITING_ARE_NOT_SENT = auto()
    """A scan that waits for a trusted clock is not sent before it has its time."""
    RESEND_AFTER_TIMEOUT = auto()
    """A batch that no ack covers in time is sent again."""
    FORGET_ONLY_SAFE = auto()
    """With room left, only what a verified backup holds is forgotten."""
    BROKER_DOES_NOT_COMMIT = auto()
    """The broker's acknowledgement of a batch is not the database's."""
    THINNING_LEAVES_GAP = auto()
    """A scan that is given up to a full buffer leaves a gap record."""
    UNREADABLE_LEAVES_GAP = auto()
    """A row that cannot be read back is delivered as a gap record."""
    FORGOTTEN_LEAVES_GAP = auto()
    """A number that was forgotten and is asked for again is delivered as a gap record."""
    OVERFLOW_LEAVES_GAP = auto()
    """Scans that a failing disk would not take are delivered as a gap record."""
    IGNORE_OLD_INCARNATION = auto()
    """An ack of an incarnation below the highest one seen changes nothing."""
    DROP_BELIEF_ON_REWIND = auto()
    """A higher incarnation replaces what the agent believed."""
    REWIND_IS_WRITTEN_DOWN = auto()
    """Nothing is forgotten by what was believed before a rewind: the card learns of it first."""
    HELLO_REPEATED = auto()
    """A hello is said again every few minutes, not only on connecting."""
    HELLO_NAMES_ALL_HELD = auto()
    """Hellos name fully committed streams too, or a restored hub cannot see what it lost of them."""

    # The hub.
    ACK_AFTER_COMMIT = auto()
    """An ack speaks of what the database has committed, never of what it is about to."""
    SUBTRACT_COMMITTED = auto()
    """Only the numbers that are not yet committed are inserted."""
    UNITE_RANGE = auto()
    """The committed ranges grow in the transaction that inserts the scans."""
    ROW_LOCK = auto()
    """The stream's row is locked from judging to committing."""
    RAISE_WHEN_AGENT_KNOWS_MORE = auto()
    """A hello that knows of more than the database has raises the incarnation."""
    RAISE_WHEN_AGENT_IS_AHEAD = auto()
    """A hello of a higher incarnation raises the database's above it."""
    DATA_REPLACES_GAP = auto()
    """Scans that arrive for a number take the place of its gap record."""
    NEVER_ARRIVED_IS_RECORDED = auto()
    """What was announced and is gone becomes a gap record."""
    OLDER_COPY_IS_NOTICED = auto()
    """What was announced beyond the next number that an agent names now is recorded too."""
    CLOSED_ANEW = auto()
    """A closed stream of which a batch has come since is closed anew: the batch may lie above a hole."""
    NEVER_ARRIVED_IS_NOT_ACKNOWLEDGED = auto()
    """The hub's own gap records are not counted as held: the scans may still come."""
    QUARANTINE_IS_HELD = auto()
    """A quarantined range counts as held, so that the stream goes on."""
    QUARANTINE_KEEPS_RAW = auto()
    """What counts as held by quarantine is kept raw in the same transaction."""
    QUARANTINE_WAITS_FOR_MANIFEST = auto()
    """A batch with an unknown manifest is kept, and the manifest is asked for."""
    REPLAY_SUBTRACTS = auto()
    """A replayed batch is judged like one that has just arrived."""
    FIRST_COMMIT_STANDS = auto()
    """Other content for a committed range never replaces what is there."""
    CONFLICT_IS_KEPT = auto()
    """Other content for a committed range is kept in quarantine."""
    ATTEMPTS_COUNTED_FIRST = auto()
    """Attempts at a batch are counted before it is parsed."""
    SAFE_AFTER_VERIFICATION = auto()
    """A backup makes ranges safe once it is verified, not when it is taken."""
    ACKS_NOT_RETAINED = auto()
    """The broker keeps no ack for later subscribers."""
