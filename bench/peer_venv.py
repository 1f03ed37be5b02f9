"""Environments of their own for what we are measured beside, so that none of it gets into ours."""

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1] / "build" / "peers"
_INSTALL_S = 600


def find_peer_python(name: str, *requirements: str) -> Path | None:
    """Return the interpreter of an environment with these packages, made when it is not there yet.

    Returns None, and says why, when they cannot be had.
    """
    directory = _ROOT / name
    python, wanted, marker = directory / "bin" / "python", "\n".join(requirements), directory / "installed.txt"
    if marker.exists() and marker.read_text(encoding="utf-8") == wanted:
        return python
    print(f"installing {', '.join(requirements)} into {directory} ...", flush=True)
    try:
        _run(sys.executable, "-m", "venv", "--clear", str(directory))
        _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)
    except (subprocess.SubprocessError, OSError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        print(f"not measured beside {name}: it cannot be installed ({said[-1] if said else error})", flush=True)
        return None
    marker.write_text(wanted, encoding="utf-8")
    return python


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_S)
