"""What must outlive the agent of the hub's orders: the configuration in force, commands, unsent answers.

A small SQLite file of its own beside the buffer, so that neither can damage the other. It is opened for each
deed and closed again: orders are rare, memory is not. With `synchronous = EXTRA` a commit survives a power
cut, the deletion of the rollback journal included.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import structlog
from pydantic import BaseModel, ConfigDict

from edge_agent.buffer.schema import is_damage, is_full, sync_directory
from edge_agent.errors import BufferFull, StorageUnavailable
from protocol.control import (
    Command,
    CommandKind,
    CommandReply,
    CommandState,
    ConfigReply,
    Reply,
    decode_reply,
    encode_reply,
)

COMMANDS_MAX = 1_000
"""Commands that are remembered at a time; a hub that orders more within their lifetime is refused."""
CONFIG_REPLIES_KEPT = 20

_BUSY_S = 10.0
_SCHEMA_VERSION = 1
_SCHEMA = f"""
    BEGIN IMMEDIATE;
    CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE commands (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, begun_at_ms INTEGER NOT NULL, expires_at_ms INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE replies (
        number INTEGER PRIMARY KEY AUTOINCREMENT, subject TEXT NOT NULL UNIQUE, payload BLOB NOT NULL,
        is_due INTEGER NOT NULL
    );
    PRAGMA user_version = {_SCHEMA_VERSION};
    COMMIT;
"""

T = TypeVar("T")

log = structlog.get_logger()


class Trial(BaseModel):
    """How long a new configuration has been tried."""

    model_config = ConfigDict(frozen=True)

    boot_id: str
    began_ms: int
    """Milliseconds after that boot."""
    boots: int = 1
    """In how many boots it was tried."""


class ConfigurationRecord(BaseModel):
    """Which configuration the agent goes by. A body is that of the order; None is the controller's own site file."""

    model_config = ConfigDict(frozen=True)

    in_force: str | None = None
    before: str | None = None
    """What comes back when the trial fails."""
    trial: Trial | None = None
    """None once the hub was reached with it."""


@dataclass(frozen=True, slots=True)
class KnownCommand:
    """A command that was met before."""

    kind: CommandKind
    reply: Reply | None
    """None while it is under way."""


class DueReply(NamedTuple):
    """An answer that the broker has not taken yet."""

    number: int
    payload: bytes


class Journal:
    """The record of orders in one file. Every call blocks on the disk and raises StorageUnavailable when that fails."""

    def __init__(self, path: Path, *, is_ours: bool = True) -> None:
        """Look into the journal of a running agent with `is_ours` false: nothing is then written or mended."""
        self.path = path
        self._is_ours = is_ours
        self._lock = threading.Lock()

    def configuration(self) -> ConfigurationRecord:
        """Return the configuration in force; the controller's own when no other was ever recorded."""
        if not self.path.exists():
            return ConfigurationRecord()
        text = self._do(lambda connection: _get_state(connection, "configuration"))
        return ConfigurationRecord() if text is None else ConfigurationRecord.model_validate_json(text)

    def keep_configuration(self, record: ConfigurationRecord, reply: ConfigReply | None = None) -> None:
        """Record the configuration in force, and what the hub is to be told of it, at one stroke."""

        def keep(connection: sqlite3.Connection) -> None:
            _put_state(connection, "configuration", record.model_dump_json())
            if reply is not None:
                _put_config_reply(connection, reply)

        self._do(keep)

    def keep_config_reply(self, reply: ConfigReply) -> None:
        """Have the hub told what became of a configuration."""
        self._do(lambda connection: _put_config_reply(connection, reply))

    def find_config_reply(self, config_hash: str) -> ConfigReply | None:
        """Return what the hub was last told, or is to be told, of a configuration."""
        reply = self._do(lambda connection: _find_reply(connection, f"config/{config_hash}"))
        return None if reply is None else reply.config

    def find_command(self, command_id: str) -> KnownCommand | None:
        """Return what is known of a command; None for a new one."""

        def find(connection: sqlite3.Connection) -> KnownCommand | None:
            row = connection.execute("SELECT kind FROM commands WHERE id = ?", (command_id,)).fetchone()
            if row is None:
                return None
            return KnownCommand(CommandKind(row[0]), _find_reply(connection, f"command/{command_id}"))

        return self._do(find)

    def begin_command(self, command: Command, *, now_ms: int) -> None:
        """Record that a command is carried out now: it never will be again."""
        self._do(lambda connection: _put_command(connection, command, now_ms))

    def answer_command(self, command: Command, reply: CommandReply) -> None:
        """Record the answer to a command, whether it was begun or not, and have it sent."""

        def answer(connection: sqlite3.Connection) -> None:
            _put_command(connection, command, reply.at_ms)
            _put_command_reply(connection, reply)

        self._do(answer)

    def repeat_reply(self, command_id: str) -> None:
        """Send the answer to a command again."""
        subject = f"command/{command_id}"
        self._do(lambda connection: connection.execute("UPDATE replies SET is_due = 1 WHERE subject = ?", (subject,)))

    def interrupt_unfinished(self, *, now_ms: int) -> list[str]:
        """Answer the commands that an earlier run began and never finished; return their ids."""

        def interrupt(connection: sqlite3.Connection) -> list[str]:
            rows = connection.execute(
                "SELECT id FROM commands WHERE 'command/' || id NOT IN (SELECT subject FROM replies)"
            ).fetchall()
            reason = "the agent ended while the command was under way; whether it had its effect is not known"
            for (command_id,) in rows:
                state = CommandState.INTERRUPTED
                _put_command_reply(connection, CommandReply(id=command_id, state=state, at_ms=now_ms, reason=reason))
            return [command_id for (command_id,) in rows]

        return self._do(interrupt)

    def count_commands(self, *, forget_expired_before_ms: int) -> int:
        """Forget commands that expired before an instant, and return how many are still remembered."""

        def count(connection: sqlite3.Connection) -> int:
            connection.execute(
                "DELETE FROM replies WHERE subject IN (SELECT 'command/' || id FROM commands WHERE expires_at_ms < ?)",
                (forget_expired_before_ms,),
            )
            connection.execute("DELETE FROM commands WHERE expires_at_ms < ?", (forget_expired_before_ms,))
            return int(connection.execute("SELECT count(*) FROM commands").fetchone()[0])

        return self._do(count)

    def began_at_ms(self, *, now_ms: int) -> int:
        """Return since when commands are remembered, UTC ms; now, when that was never recorded."""

        def began(connection: sqlite3.Connection) -> int:
            text = _get_state(connection, "began_at_ms")
            if text is None:
                _put_state(connection, "began_at_ms", str(now_ms))
            return now_ms if text is None else int(text)

        return self._do(began)

    def due_replies(self, *, limit: int = 8) -> list[DueReply]:
        """Return the oldest answers that are to be sent."""
        if not self.path.exists():
            return []
        sql = "SELECT number, payload FROM replies WHERE is_due ORDER BY number LIMIT ?"
        return self._do(lambda connection: [DueReply(*row) for row in connection.execute(sql, (limit,))])

    def reply_sent(self, number: int) -> None:
        """Note that the hub has an answer. One that took its place meanwhile has another number, and stays due."""
        self._do(lambda connection: connection.execute("UPDATE replies SET is_due = 0 WHERE number = ?", (number,)))

    def _do(self, deed: Callable[[sqlite3.Connection], T]) -> T:
        """Do something in one transaction; a damaged file is set aside, and the record begins anew.

        Raises: StorageUnavailable.
        """
        try:
            try:
                return self._attempt(deed)
            except sqlite3.Error as error:
                if not (is_damage(error) and self._is_ours):
                    raise
                self._set_aside(error)
            return self._attempt(deed)
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.Error) and is_full(error):
                raise BufferFull(f"no room left for {self.path}: free space on its disk") from error
            raise StorageUnavailable(
                f"{self.path} cannot be used now ({error}): check its disk, which may be read-only"
            ) from error

    def _attempt(self, deed: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock, _opened(self.path, may_write=self._is_ours) as connection:
            connection.execute("BEGIN")
            try:
                result = deed(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                raise
        return result

    def _set_aside(self, cause: sqlite3.Error) -> None:
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.damaged-{number}")).exists():
            number += 1
        self.path.with_name(f"{self.path.name}-journal").unlink(missing_ok=True)
        self.path.rename(aside)
        sync_directory(self.path.parent)
        log.error("orders_damaged", path=str(self.path), set_aside=str(aside), cause=str(cause))


@contextmanager
def _opened(path: Path, *, may_write: bool) -> Iterator[sqlite3.Connection]:
    mode = "rwc" if may_write else "ro"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=_BUSY_S
    )
    try:
        connection.execute("PRAGMA synchronous = EXTRA")
        if may_write and connection.execute("PRAGMA user_version").fetchone()[0] < _SCHEMA_VERSION:
            _create(connection)
        yield connection
    finally:
        connection.close()


def _create(connection: sqlite3.Connection) -> None:
    try:
        connection.executescript(_SCHEMA)
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _get_state(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def _put_state(connection: sqlite3.Connection, name: str, value: str) -> None:
    connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))


def _find_reply(connection: sqlite3.Connection, subject: str) -> Reply | None:
    row = connection.execute("SELECT payload FROM replies WHERE subject = ?", (subject,)).fetchone()
    return None if row is None else decode_reply(row[0])


def _put_command(connection: sqlite3.Connection, command: Command, begun_at_ms: int) -> None:
    row = (command.id, command.kind.value, begun_at_ms, command.expires_at_ms)
    connection.execute("INSERT OR IGNORE INTO commands VALUES (?, ?, ?, ?)", row)


def _put_command_reply(connection: sqlite3.Connection, reply: CommandReply) -> None:
    _put_reply(connection, f"command/{reply.id}", Reply(command=reply))


def _put_config_reply(connection: sqlite3.Connection, reply: ConfigReply) -> None:
    """Keep the newest answer of each configuration, and forget those of old ones."""
    _put_reply(connection, f"config/{reply.hash}", Reply(config=reply))
    connection.execute(
        "DELETE FROM replies WHERE subject GLOB 'config/*' AND number NOT IN"
        " (SELECT number FROM replies WHERE subject GLOB 'config/*' ORDER BY number DESC LIMIT ?)",
        (CONFIG_REPLIES_KEPT,),
    )


def _put_reply(connection: sqlite3.Connection, subject: str, reply: Reply) -> None:
    # REPLACE gives it a new number: it goes to the end of the queue.
    connection.execute(
        "INSERT OR REPLACE INTO replies (subject, payload, is_due) VALUES (?, ?, 1)", (subject, encode_reply(reply))
    )
