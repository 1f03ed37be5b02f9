"""Who may connect to the broker as a subscriber, and what each may read: from the database, as Mosquitto's files say it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, text

from protocol import topics
from protocol.errors import InvalidIdentifier
from protocol.identifiers import parse_slug
from protocol.mosquitto import render_passwords

# A service that is disabled has no logins; an organisation that was moved takes its readers with it.
_LOGINS = text("""
    SELECT l.id, l.username, l.password_hash, l.is_sparkplug, l.applied_at IS NOT NULL AS is_applied,
           array_agg(o.slug ORDER BY o.slug) AS organisations
    FROM subscriber_logins l
    JOIN users u ON u.id = l.user_id AND u.disabled_at IS NULL
    JOIN organisations o ON l.organisation_id = ANY (o.lineage)
    GROUP BY l.id
    ORDER BY l.username
""")
# One that was rotated since it was read is not the one that the broker was told of.
_NOTE_APPLIED = text("""
    UPDATE subscriber_logins l SET applied_at = now()
    FROM unnest(CAST(:ids AS bigint[]), CAST(:hashes AS text[])) AS told (id, password_hash)
    WHERE l.id = told.id AND l.password_hash = told.password_hash AND l.applied_at IS NULL
""")


@dataclass(frozen=True, slots=True)
class Grant:
    """A login with what it may read."""

    login_id: int
    username: str
    password_hash: str
    organisations: Sequence[str]
    """Slugs of its own organisation and of all below it."""
    is_sparkplug: bool
    is_applied: bool
    """Whether it was noted that the broker has it with this password."""


def load_grants(engine: Engine) -> list[Grant]:
    """Read all logins."""
    with engine.connect() as connection:
        return [
            Grant(
                row.id,
                row.username,
                row.password_hash,
                [*filter(_has_topics, row.organisations)],
                row.is_sparkplug,
                row.is_applied,
            )
            for row in connection.execute(_LOGINS)
        ]


def note_applied(engine: Engine, grants: Iterable[Grant]) -> None:
    """Note of the logins which the broker was told of that it has them; those noted already are left alone."""
    fresh = [grant for grant in grants if not grant.is_applied]
    if fresh:
        told = {"ids": [grant.login_id for grant in fresh], "hashes": [grant.password_hash for grant in fresh]}
        with engine.begin() as connection:
            connection.execute(_NOTE_APPLIED, told)


def _has_topics(slug: str) -> bool:
    """Say whether topics can have this name: one that cannot must keep nobody's login from ending."""
    try:
        parse_slug(slug)
    except InvalidIdentifier:
        return False
    return True


def filters_of(organisations: Iterable[str], *, is_sparkplug: bool) -> list[str]:
    """Return the topic filters within which somebody may read these organisations."""
    filters: list[str] = []
    for slug in organisations:
        filters += [topics.live_of(slug), topics.events_of(slug)]
        if is_sparkplug:
            filters.append(topics.sparkplug_of(slug))
    return filters


def render_grants(grants: Sequence[Grant]) -> tuple[str, str]:
    """Render Mosquitto's files of passwords and of rights. What is not named is denied."""
    lines: list[str] = []
    for grant in grants:
        lines.append(f"user {grant.username}")
        lines += [f"topic read {one}" for one in filters_of(grant.organisations, is_sparkplug=grant.is_sparkplug)]
        if grant.is_sparkplug:
            # The one thing that a Sparkplug application must say: it asks an edge node for its birth.
            lines += [f"topic write {topics.sparkplug_commands(slug)}" for slug in grant.organisations]
        lines.append("")
    return render_passwords({grant.username: grant.password_hash for grant in grants}), "\n".join(lines)
