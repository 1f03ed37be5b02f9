"""What invitations say. Pure."""

from datetime import datetime

from cloud_hub.access.permissions import Role

_ROLES = {
    Role.ADMIN: "an admin",
    Role.MANAGER: "a manager",
    Role.TECHNICIAN: "a technician",
    Role.VIEWER: "a viewer",
    Role.INSTALLER: "an installer",
    Role.CUSTOM: "a member",
}


def write_invitation(
    *, organisation: str, name: str, role: Role, invited_by: str, link: str, expires_at: datetime
) -> tuple[str, str]:
    """Return subject and body. It reads the same whether or not its reader has an account."""
    greeting = f"Hello {name}," if name else "Hello,"
    body = f"""{greeting}

{invited_by} invites you to {organisation} on Meterhaul, as {_ROLES[role]}.

Open this address to accept:

{link}

It works once, until {expires_at:%d %B %Y, %H:%M} UTC. If you did not expect this letter, do nothing: nobody gets in
without it.
"""
    return f"Invitation to {organisation}", body
