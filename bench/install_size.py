"""What an installation of `meterhaul[edge]` and an upgrade of it weigh; part of `footprint.py`.

Wheels are those of requirements/edge.txt for this machine, fetched as pip does it; the build tools that the
file also pins are left out, because a controller installs our own wheel. Installed size is what lies on
disk afterwards, compiled modules included.
"""

import re
import subprocess
import sys
from pathlib import Path

from figures import report

ROOT = Path(__file__).parents[1]
_BUILD_TOOLS = frozenset({"hatchling", "editables", "pathspec", "pluggy", "trove-classifiers", "tomlkit"})
_MEGABYTE = 1_000_000
_PATIENCE_S = 600


def report_install_size(directory: Path) -> list[bool]:
    """Fetch, build and install into `directory`, and print the figures; say so where the index is not near."""
    wheels, target = directory / "wheels", directory / "installed"
    try:
        ours = build_our_wheel(directory / "ours")
        fetch_wheels(wheels, edge_requirements())
        install(target, [*sorted(wheels.glob("*.whl")), ours])
    except subprocess.SubprocessError as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        print(f"install size not measured: {said[-1] if said else error}", flush=True)
        return []
    sizes = {wheel.name.partition("-")[0]: wheel.stat().st_size for wheel in wheels.glob("*.whl")}
    largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
    named = ", ".join(f"{name} {sizes[name] / _MEGABYTE:.1f}" for name in largest)
    return [
        report(
            "edge_install_wheels_mb",
            (sum(sizes.values()) + ours.stat().st_size) / _MEGABYTE,
            "MB",
            against=f"{len(sizes) + 1} wheels of {sys.implementation.cache_tag}, the largest: {named}",
        ),
        report("edge_install_on_disk_mb", size_on_disk(target) / _MEGABYTE, "MB", against="compiled modules included"),
        report("edge_upgrade_wheel_mb", ours.stat().st_size / _MEGABYTE, "MB", against="our own wheel, compressed"),
    ]


def edge_requirements() -> list[str]:
    """Return the pins of requirements/edge.txt that run on the edge, with their markers."""
    text = (ROOT / "requirements" / "edge.txt").read_text(encoding="utf-8")
    pins = [line.removesuffix("\\").strip() for line in text.splitlines() if re.match(r"[a-z]", line)]
    return [pin for pin in pins if pin.partition("==")[0] not in _BUILD_TOOLS]


def fetch_wheels(directory: Path, requirements: list[str]) -> None:
    """Download wheels.

    Raises: subprocess.SubprocessError.
    """
    _pip("download", "--no-deps", "--only-binary", ":all:", "--dest", directory, *requirements)


def build_our_wheel(directory: Path) -> Path:
    """Build the wheel of this checkout and return its path.

    Raises: subprocess.SubprocessError.
    """
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", directory, ROOT)
    [wheel] = directory.glob("*.whl")
    return wheel


def install(target: Path, wheels: list[Path]) -> None:
    """Install wheels into a directory of their own.

    Raises: subprocess.SubprocessError.
    """
    _pip("install", "--no-deps", "--no-index", "--target", target, *wheels)


def size_on_disk(directory: Path) -> int:
    """Return the bytes of all files below."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=_PATIENCE_S)
