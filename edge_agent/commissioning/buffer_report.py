"""What the buffer holds, as data and as text."""

from dataclasses import asdict
from typing import Any

from edge_agent.buffer.inspect import BufferReport, GapReport
from edge_agent.commissioning.tables import iso, iso_or_none, table

_MIB = 1024 * 1024
_BELIEF = "(The agent writes down now and then what the hub has; `meterhaul edge status` tells it as of now.)"


def buffer_report(report: BufferReport, gaps: tuple[GapReport, ...]) -> dict[str, Any]:
    """Report on the buffer."""
    times = {"oldest": iso_or_none(report.oldest_ms), "newest": iso_or_none(report.newest_ms)}
    shown = [asdict(gap) | {"from": iso_or_none(gap.from_ms), "to": iso_or_none(gap.to_ms)} for gap in gaps]
    return {**asdict(report), **times, "gaps": shown}


def buffer_text(report: BufferReport, gaps: tuple[GapReport, ...]) -> str:
    """Write the state of the buffer as text."""
    rows = [("stream", "started", "scans", "committed", "outstanding", "")]
    rows += [
        (
            stream.stream_id[:8],
            iso(stream.started_at_ms),
            f"{stream.recorded:,}",
            f"{stream.committed:,}",
            f"{stream.outstanding:,}",
            "newest" if stream.is_live else "",
        )
        for stream in report.streams
    ]
    waiting = f", of these {report.held_for_clock:,} wait for the clock" if report.held_for_clock else ""
    return "\n".join(
        [
            f"file         {report.path}, {report.file_bytes / _MIB:,.1f} MiB",
            f"scans        {report.recorded:,}: {report.committed:,} committed, {report.outstanding:,} outstanding{waiting}",
            f"oldest held  {iso_or_none(report.oldest_ms) or 'none'}",
            f"newest       {iso_or_none(report.newest_ms) or 'none'}",
            *(_gap_line(gap) for gap in gaps),
            "",
            *table(rows, right={2, 3, 4}),
            *([_BELIEF] if report.outstanding else []),
        ]
    )


def _gap_line(gap: GapReport) -> str:
    between = f", from {iso(gap.from_ms)} to {iso(gap.to_ms)}" if gap.from_ms and gap.to_ms else ""
    return f"missing      {gap.scans:,} scans: {gap.reason.replace('_', ' ')}{between}"
