"""Throw-away certificates for tests and benchmarks: P-256, as controllers have them. No key lies in the repository."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = dt.timedelta(days=2)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, as PEM files."""

    cert: Path
    key: Path


class ThrowAwayCa:
    """A certificate authority in a directory, for as long as that lives."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        """Make the authority, whose own key is kept in memory only."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self._key, self._name = directory, ec.generate_private_key(ec.SECP256R1()), _name(name)
        self.cert = directory / f"{name}.pem"
        """The certificate that the others are checked against."""
        authority = x509.BasicConstraints(ca=True, path_length=0)
        self._sign(self.cert, self._name, self._key, (authority, True), (_may(sign_certificates=True), True))

    def issue(self, common_name: str, *, hosts: Sequence[str] = ()) -> KeyPair:
        """Issue a certificate; with the IP addresses and names that it is for when it is a server's."""
        pair = KeyPair(self._directory / f"{common_name}.pem", self._directory / f"{common_name}.key")
        key = ec.generate_private_key(ec.SECP256R1())
        pair.key.touch(mode=0o600)
        form = serialization.PrivateFormat.PKCS8
        pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        use = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (_may(sign_certificates=False), True),
            (x509.ExtendedKeyUsage([use]), False),
        ]
        if hosts:
            extensions.append((x509.SubjectAlternativeName([_host(host) for host in hosts]), False))
        self._sign(pair.cert, _name(common_name), key, *extensions)
        return pair

    def _sign(
        self,
        path: Path,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *extensions: tuple[x509.ExtensionType, bool],
    ) -> None:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .issuer_name(self._name)
            .subject_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _LIFE)
            .not_valid_after(now + _LIFE)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, critical=is_critical)
        path.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _may(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
