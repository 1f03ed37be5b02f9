"""TLS as a device of Modbus/TCP Security speaks it."""

import ssl
from pathlib import Path


def device_context(certificate: Path, key: Path, *, client_ca: Path | None = None) -> ssl.SSLContext:
    """Build the context of a server; with `client_ca` it demands a certificate that this authority issued.

    Raises: OSError (ssl.SSLError among them).
    Source: MODBUS/TCP Security Protocol Specification V2.1: TLS 1.2 or newer.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
