"""The chain of hashes over an organisation's audit trail: made by the database, checked by anybody.

Each event's hash covers its own words and the hash before, so whoever changes, removes or inserts one breaks
all that follow; the newest hash, kept elsewhere, proves that the whole trail is the one it was then. The tables
belong to a role that nobody works as: the hub's own processes can add, and forget only what its period is over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection, Row, text

from cloud_hub.errors import Invalid
from cloud_hub.tenancy.roles import Role

TABLES: Final = {"audit_events": "SELECT, INSERT", "audit_heads": "SELECT"}
"""What belongs to the auditor, and what the hub's own processes may do with it."""

_FUNCTIONS: Final = """
CREATE OR REPLACE FUNCTION audit_digest(previous bytea, e audit_events) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(previous || convert_to(jsonb_build_array(
        e.organisation_id, e.number, extract(epoch FROM e.at), e.who, e.user_id, e.on_behalf_of, e.action, e.subject,
        e.detail, e.address, e.request_id)::text, 'UTF8'))
$$;

CREATE OR REPLACE FUNCTION audit_add() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    before bytea;
BEGIN
    INSERT INTO audit_heads (organisation_id, number, hash) VALUES (NEW.organisation_id, 0, '') ON CONFLICT DO NOTHING;
    -- The lock puts those who add to one trail in a row until each has committed.
    SELECT hash, number + 1 INTO before, NEW.number FROM audit_heads
        WHERE organisation_id = NEW.organisation_id FOR UPDATE;
    NEW.hash := audit_digest(before, NEW);
    UPDATE audit_heads SET number = NEW.number, hash = NEW.hash WHERE organisation_id = NEW.organisation_id;
    RETURN NEW;
END $$;

-- Forgets an organisation's events before an instant, oldest first and without holes; answers how many.
-- No sooner than the organisation's own period is over, whoever asks.
CREATE OR REPLACE FUNCTION audit_forget(organisation bigint, before timestamptz) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    last audit_events;
    gone bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM organisations o WHERE o.id = organisation
                   AND before <= now() - make_interval(days => o.audit_kept_days)) THEN
        RAISE insufficient_privilege USING MESSAGE = 'the audit trail of organisation ' || organisation
            || ' is kept longer than until ' || before;
    END IF;
    PERFORM FROM audit_heads WHERE organisation_id = organisation FOR UPDATE;
    SELECT * INTO last FROM audit_events e WHERE e.organisation_id = organisation AND e.at < before
        AND NOT EXISTS (SELECT FROM audit_events o WHERE o.organisation_id = organisation AND o.at >= before
                        AND o.number < e.number)
        ORDER BY e.number DESC LIMIT 1;
    IF last IS NULL THEN
        RETURN 0;
    END IF;
    DELETE FROM audit_events WHERE organisation_id = organisation AND number <= last.number;
    GET DIAGNOSTICS gone = ROW_COUNT;
    UPDATE audit_heads SET first_number = last.number + 1, before_first = last.hash
        WHERE organisation_id = organisation;
    RETURN gone;
END $$;
"""
_SIGNATURES: Final = {
    "audit_digest(bytea, audit_events)": tuple(Role),
    "audit_add()": (),
    "audit_forget(bigint, timestamptz)": (Role.WORK,),
}

_AT_ONCE: Final = 5_000
"""Events held in memory."""
POLICY: Final = "auditor"
"""The policy that lets the auditor's own functions see rows: row-level security holds for owners too."""
_HAS_POLICY = text("SELECT 1 FROM pg_policy WHERE polrelid = CAST(:table AS regclass) AND polname = :name")
_HEADS = text("""
    SELECT o.id, o.slug, h.number, h.hash, h.first_number, h.before_first
    FROM audit_heads h JOIN organisations o ON o.id = h.organisation_id ORDER BY o.id
""")
_EVENTS = text("""
    SELECT e.number, e.hash, audit_digest(lag(e.hash, 1, CAST(:before AS bytea)) OVER (ORDER BY e.number), e) AS digest
    FROM audit_events e WHERE e.organisation_id = :organisation ORDER BY e.number
""")


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of checking one organisation's trail."""

    organisation: str
    events: int
    first_number: int
    number: int
    """Of the newest event."""
    hash: str
    """Of the newest event, in hexadecimal: kept elsewhere, it proves the trail up to here."""
    problem: str = ""
    """What is wrong, in one sentence; empty for a whole trail."""
    note: str = ""
    """What could not be checked, though nothing is wrong."""


def install_chain(connection: Connection) -> None:
    """Make the functions and the trigger that keep the chain; doing it again changes nothing."""
    connection.exec_driver_sql(_FUNCTIONS)
    for signature, roles in _SIGNATURES.items():
        connection.exec_driver_sql(f"ALTER FUNCTION {signature} OWNER TO {Role.AUDITOR}")
        connection.exec_driver_sql(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        if roles:
            connection.exec_driver_sql(f"GRANT EXECUTE ON FUNCTION {signature} TO {', '.join(roles)}")
    connection.exec_driver_sql(f"GRANT SELECT ON organisations TO {Role.AUDITOR}")
    for table in ("audit_events", "organisations"):
        if connection.scalar(_HAS_POLICY, {"table": table, "name": POLICY}) is None:
            command = "ALL" if table in TABLES else "SELECT"
            connection.exec_driver_sql(
                f"CREATE POLICY {POLICY} ON {table} FOR {command} TO {Role.AUDITOR} USING (true)"
            )
    connection.exec_driver_sql(
        "CREATE OR REPLACE TRIGGER audit_add BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION audit_add()"
    )


@dataclass(frozen=True, slots=True)
class Anchor:
    """What an earlier check found, kept where nobody at the hub can reach it."""

    organisation: str
    number: int
    hash: str

    @classmethod
    def parse(cls, text: str) -> "Anchor":
        """Read `organisation:number:hash`.

        Raises: Invalid.
        """
        organisation, _, rest = text.partition(":")
        number, _, digest = rest.partition(":")
        if not organisation or not number.isdecimal() or len(digest) != 2 * sha256().digest_size:
            raise Invalid(f"{text!r} is not what a check prints: give ORGANISATION:NUMBER:HASH as it stands there")
        return cls(organisation, int(number), digest)


def verify(connection: Connection, anchors: Sequence[Anchor] = ()) -> list[Verified]:
    """Check every organisation's trail from its first event to its newest, and that it goes on from each anchor."""
    found = []
    for head in connection.execute(_HEADS).all():
        own = {anchor.number: anchor.hash for anchor in anchors if anchor.organisation == head.slug}
        found.append(_verify(connection, head, own))
    unknown = {anchor.organisation for anchor in anchors} - {trail.organisation for trail in found}
    found += [Verified(slug, 0, 0, 0, "", "the whole trail is gone") for slug in sorted(unknown)]
    return found


def _verify(connection: Connection, head: Row[Any], anchors: dict[int, str]) -> Verified:
    before, newest = bytes(head.before_first), bytes(head.hash)
    rows = connection.execution_options(yield_per=_AT_ONCE).execute(
        _EVENTS, {"organisation": head.id, "before": before}
    )
    expected, last, problem = head.first_number, before, ""
    for row in rows:
        if row.number != expected:
            problem = f"events {expected} to {row.number - 1} are gone"
        elif bytes(row.hash) != bytes(row.digest):
            problem = f"event {row.number} is not what was written"
        elif anchors.pop(row.number, row.hash.hex()) != row.hash.hex():
            problem = f"event {row.number} is another than it was at an earlier check"
        if problem:
            break
        expected, last = row.number + 1, bytes(row.hash)
    rows.close()
    if not problem and (expected - 1 != head.number or last != newest):
        problem = f"the newest events are gone: {head.number} were written, the last one there is {expected - 1}"
    missing = [number for number in anchors if number >= expected]
    if not problem and missing:
        problem = f"event {missing[0]} of an earlier check is gone"
    forgotten = [number for number in anchors if number < head.first_number]
    note = f"event {max(forgotten)} of an earlier check has been forgotten since: keep a newer one" if forgotten else ""
    kept = expected - head.first_number
    return Verified(head.slug, kept, head.first_number, head.number, newest.hex(), problem, note)
