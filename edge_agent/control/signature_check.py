"""The short-lived process that checks one signature: standard input in, exit code out.

The agent does not load the library itself: it would stay in its memory for good, 11 MB of 50.
"""

import sys

KEY_BYTES, SIGNATURE_BYTES = 32, 64
GENUINE, FORGED = 0, 3


def main() -> int:
    """Read the raw public key, the signature and then what is signed; return whether it is genuine."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - the agent takes its numbers from here
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    given = sys.stdin.buffer.read()
    key, rest = given[:KEY_BYTES], given[KEY_BYTES:]
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(rest[:SIGNATURE_BYTES], rest[SIGNATURE_BYTES:])
    except InvalidSignature:
        return FORGED
    return GENUINE


if __name__ == "__main__":
    sys.exit(main())
