"""Certificates for tests of encrypted Modbus, made when a test first asks for them."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from demo.certificates import ThrowAwayCa


@cache
def modbus_tls_files() -> Path:
    """Make a directory with `ca.pem`, which issued `device` (127.0.0.1, meter.test) and `client`, and `other-ca.pem`,
    which issued `stranger`; each of the three as `.pem` and `.key`.
    """
    directory = Path(tempfile.mkdtemp(prefix="meterhaul-certificates-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    ours = ThrowAwayCa(directory)
    ours.issue("device", hosts=["127.0.0.1", "meter.test"])
    ours.issue("client")
    ThrowAwayCa(directory, "other-ca").issue("stranger")
    return directory
