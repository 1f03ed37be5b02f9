"""Render the files of a Mosquitto broker: who may connect, and what each may say and hear. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from protocol import limits, topics

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


def render_configuration(
    listeners: Sequence[Listener], *, user: str | None = None, process_id_file: Path | None = None
) -> str:
    """Render `mosquitto.conf`.

    Several listeners, because the option that stops one controller from evicting another by its client id
    (`use_username_as_clientid`) would make all `ingest` processes, which share one user name, evict
    each other. Each listener knows its own accounts only: a controller cannot use the hub's door, and a
    subscriber, whose rights the hub writes, never becomes a controller by a slip in them.
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
    if process_id_file is not None:
        lines.append(f"pid_file {process_id_file}")
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
    """Render the hub's rights: hear what every agent says, shared subscriptions included, and answer any.

    And tell subscribers what is new, and hear that too, to say it again in Sparkplug.
    """
    rights = (
        f"read {topics.all_up()}",
        f"write {topics.any_down()}",
        f"readwrite {topics.all_live()}",
        f"write {topics.all_events()}",
        f"readwrite {topics.all_sparkplug()}",
    )
    return "\n".join([f"user {username}", *(f"topic {right}" for right in rights)]) + "\n"
