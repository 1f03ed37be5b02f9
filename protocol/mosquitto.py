"""What Mosquitto's files look like, for those who write them: `provisioning`, and the hub for its subscribers. Pure."""

import base64
import hashlib
from collections.abc import Mapping

PASSWORD_ITERATIONS = 101
"""As mosquitto_passwd does. Passwords here are random and long: stretching them would only slow
down the day on which ten thousand controllers come back at once."""
SALT_BYTES = 12
"""What Mosquitto 2.0 demands."""

SUBSCRIBER_PASSWORDS = "subscribers.passwords"
SUBSCRIBER_RIGHTS = "subscribers.acl"
"""Files in the broker's directory that the hub keeps; `provisioning` only makes them, empty."""
PROCESS_ID = "mosquitto.pid"
"""The file in the broker's directory that says whom to signal when those have changed."""


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
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, PASSWORD_ITERATIONS)
    return f"$7${PASSWORD_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
