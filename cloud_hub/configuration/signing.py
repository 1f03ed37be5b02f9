"""The key with which the hub vouches for its orders: Ed25519, in a file that only `work` needs to read."""

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud_hub.configuration.models import OrderKey
from cloud_hub.errors import SettingsError
from cloud_hub.settings import HubSettings
from protocol.control import Signed, key_id, signed_bytes
from protocol.topics import Down

_REMEDY = "make one with 'meterhaul hub signing-key'"


class SigningKey:
    """A key pair of the hub."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    @property
    def id(self) -> str:
        """How signatures name it."""
        return key_id(self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @property
    def public_pem(self) -> str:
        """The public key as agents read it."""
        public = self._private.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def sign(self, kind: Down, controller_id: str, body: str) -> Signed:
        """Vouch for an order to one controller."""
        signature = self._private.sign(signed_bytes(kind, controller_id, body))
        return Signed(body=body, key_id=self.id, signature=signature)


def create_signing_key(path: Path) -> bool:
    """Write a new key, readable by its owner only; answer False when the file is there already.

    Raises: SettingsError when the file cannot be written.
    """
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    # A link makes the finished file appear at once, and never replaces a key that somebody else has made.
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)
        except FileExistsError:
            return False
        finally:
            fresh.unlink()
    except OSError as error:
        raise SettingsError(f"the signing key file {path} cannot be written: {error.strerror}") from error
    return True


def read_signing_key(path: Path) -> SigningKey:
    """Read the key.

    Raises: SettingsError when there is none, or none of that kind.
    """
    try:
        private = load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError as error:
        raise SettingsError(f"the signing key file {path} does not exist: {_REMEDY}") from error
    except OSError as error:
        raise SettingsError(f"the signing key file {path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(
            f"the signing key file {path} holds no private key in PEM without a password: {_REMEDY}"
        ) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise SettingsError(f"the signing key file {path} holds a key that is not Ed25519: {_REMEDY}")
    return SigningKey(private)


def prepare_signing_key(engine: Engine, settings: HubSettings) -> SigningKey | None:
    """Make the key when it is missing, and let its public half be seen; None where no file is set.

    Raises: SettingsError.
    """
    if settings.signing_key_path is None:
        return None
    create_signing_key(settings.signing_key_path)
    key = read_signing_key(settings.signing_key_path)
    with Session(engine) as session, session.begin():
        note_public_key(session, key)
    return key


def note_public_key(session: Session, key: SigningKey) -> None:
    """Let everybody see the public half, from which controllers are provisioned."""
    row = insert(OrderKey).values(key_id=key.id, public_key=key.public_pem)
    session.execute(row.on_conflict_do_nothing())
