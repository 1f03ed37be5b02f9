"""The account that runs PostgreSQL when we are root, and places that it may reach."""

import contextlib
import getpass
import hashlib
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from demo.errors import DemoError


def unprivileged_account() -> str | None:
    """Return the account that runs the server when we are root, which PostgreSQL refuses; else None."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise DemoError("PostgreSQL does not run as root, and there is no account 'postgres' or 'nobody': make one of them")


def may_enter(path: Path, account: str) -> bool:
    """Say whether the account may enter a directory or run a program, all directories above it included."""
    return subprocess.run(["/usr/bin/test", "-x", path], user=account, cwd="/", check=False).returncode == 0


def home_elsewhere(data_dir: Path) -> Path:
    """Make the place, reachable by every account, that stands in for a directory which is not.

    Raises: DemoError when someone else made it first.
    """
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    home = Path("/var/tmp") / f"meterhaul-{name}"  # noqa: S108 - survives a reboot; the owner is checked below
    home.mkdir(mode=0o755, exist_ok=True)
    if home.lstat().st_uid != os.geteuid() or home.is_symlink():
        raise DemoError(f"{home} belongs to someone other than {getpass.getuser()}: remove it")
    return home


def copy_programs(directory: Path, home: Path) -> Path:
    """Copy an installation to where the unprivileged account may run it, and return the copy's `bin`.

    `directory` is the installation's `bin`. A wheel's programs find their libraries by the way from one
    to the other (`package/installation/bin` to `package.libs`), so the copy keeps it.
    """
    installation, package = directory.parent, directory.parent.parent
    copy = home / "programs"
    copied_bin = copy / package.name / installation.name / directory.name
    if copied_bin.exists():
        return copied_bin
    unfinished = home / "programs.new"
    for outdated in (unfinished, copy):
        shutil.rmtree(outdated, ignore_errors=True)
    shutil.copytree(
        installation,
        unfinished / package.name / installation.name,
        symlinks=True,
        ignore=shutil.ignore_patterns("include"),
    )
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, unfinished / libraries.name)
    unfinished.rename(copy)
    return copied_bin
