"""Render the files of a Mosquitto broker: who may connect, and what each may say and hear. Pure."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from protocol import limits, topics

_PASSWORD_ITERATIONS = 101
"""As mosquitto_passwd does. Passwords here are random and long: stretching them would only slow
down the day on which ten thousand controllers come back at once."""
SALT_BYTES = 12
"""What Mosquitto 2.0 demands."""
_PACKET_BYTES_MAX = limits.MESSAGE_BYTES_MAX + 4096
"""The largest message of the contract, and room for topic and properties."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One address of the broker, with files of passwords and rights of its own."""

    port: int
    password_file: Path
    acl_file: Path
    host: str = "127.0.0.1"
    forces_client_id: bool = False
    """Whether a client is known by its user name, whatever client id it gives."""


def render_configuration(listeners: Sequence[Listener], *, user: str | None = None) -> str:
    """Render `mosquitto.conf`.

    Two listeners, because the option that stops one controller from evicting another by its client id
    (`use_username_as_clientid`) would make all `ingest` processes, which share one user name, evict
    each other. Each listener knows its own accounts only: a controller cannot use the hub's door.
    `user` is the account that Mosquitto changes to when it is started as root.
    Source: mosquitto.conf(5).
    """
    lines = [
        "per_listener_settings true",
        # The contract needs nothing that a broker keeps: the agents hold what the hub has not committed.
        "persistence false",
        "max_queued_messages 10000",
        "max_queued_bytes 268435456",
        # Messages in flight from one client to the broker; agents send 4, the hub's processes acknowledge many.
        "max_inflight_messages 200",
        f"max_packet_size {_PACKET_BYTES_MAX}",
        "set_tcp_nodelay true",
        "sys_interval 0",
        "log_dest stderr",
        "log_timestamp_format %Y-%m-%dT%H:%M:%S",
    ]
    if user is not None:
        lines.append(f"user {user}")
    for listener in listeners:
        lines += [
            "",
            f"listener {listener.port} {listener.host}",
            "allow_anonymous false",
            f"password_file {listener.password_file}",
            f"acl_file {listener.acl_file}",
            f"use_username_as_clientid {str(listener.forces_client_id).lower()}",
        ]
    return "\n".join(lines) + "\n"


def render_controller_acl() -> str:
    """Render the rights of every controller: say under its own `up/`, hear its own `down/`."""
    return f"pattern write {topics.own_up_pattern()}\npattern read {topics.own_down_pattern()}\n"


def render_hub_acl(username: str) -> str:
    """Render the hub's rights: hear what every agent says, shared subscriptions included, and answer any."""
    return f"user {username}\ntopic read {topics.all_up()}\ntopic write {topics.any_down()}\n"


def render_passwords(hashes: Mapping[str, str]) -> str:
    """Render a password file from user names and what `hash_password` made of their passwords."""
    return "".join(f"{username}:{hashed}\n" for username, hashed in sorted(hashes.items()))


def hash_password(password: str, salt: bytes) -> str:
    """Hash a password as Mosquitto stores it: PBKDF2 with SHA-512.

    `salt` holds 12 random bytes. Raises: ValueError for a salt of another length.
    Source: `mosquitto_passwd -U` writes `$7$iterations$salt$hash`, both in base64.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _PASSWORD_ITERATIONS)
    return f"$7${_PASSWORD_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
