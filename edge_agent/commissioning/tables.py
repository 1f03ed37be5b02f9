"""Tables and times as the commands print them."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime


def table(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """Align columns; those in `right` to the right."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def iso(at_ms: int) -> str:
    """Write UTC milliseconds as ISO 8601."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_or_none(at_ms: int | None) -> str | None:
    """Write UTC milliseconds as ISO 8601; nothing for 0 and None."""
    return iso(at_ms) if at_ms else None


def amount(number: float, unit: str = "B") -> str:
    """Write a number of bytes with a prefix: `1.4 MB`."""
    for prefix in ("", "k", "M", "G"):
        if abs(number) < 1000 or prefix == "G":
            return f"{number:.{0 if not prefix else 1}f} {prefix}{unit}"
        number /= 1000
    raise AssertionError


def span(seconds: float) -> str:
    """Write a time span as people do: `4 h 12 min`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86_400
    if minutes < 100:
        return f"{minutes:.0f} min"
    if hours < 48:
        return f"{int(hours)} h {int(minutes % 60)} min"
    return f"{days:.0f} days"
