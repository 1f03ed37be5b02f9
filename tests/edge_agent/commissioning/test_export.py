"""Export writes what the buffer holds, in pieces, and says what is missing."""

import asyncio
import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from edge_factories import MANIFEST, START_MS, make_scan, make_scans, opened

from edge_agent.buffer.inspect import count_gaps
from edge_agent.commissioning.export import Exported, Wanted, export, parse_instant
from edge_agent.errors import AgentError
from protocol.quality import Quality
from protocol.scans import Gap, GapReason, Scan


def fill(directory: Path, contents: Sequence[Scan | Gap]) -> Path:
    async def put() -> None:
        async with opened(directory) as buffer:
            await buffer.append(contents)

    asyncio.run(put())
    return directory / "buffer.sqlite"


def exported(path: Path, **wanted: object) -> tuple[list[dict[str, str]], Exported]:
    out = io.StringIO()
    result = export(path, Wanted(**wanted), out)  # type: ignore[arg-type] # tests vary what they name
    return list(csv.DictReader(out.getvalue().splitlines())), result


def test_rows_name_meter_point_unit_and_quality(tmp_path: Path) -> None:
    scan = Scan(0, START_MS, (231.2, None, 0.1), (Quality.GOOD, Quality.TIMEOUT, Quality.OUT_OF_RANGE))
    rows, result = exported(fill(tmp_path, [scan]))
    names = [point.name for point in MANIFEST.layouts[0].points]
    assert [(row["point"], row["value"], row["quality"]) for row in rows] == [
        (names[0], "231.2", "good"),
        (names[1], "", "timeout"),
        (names[2], "0.1", "out_of_range"),
    ]
    assert {row["observed_at"] for row in rows} == {"2023-11-14T22:13:20.000Z"}
    assert {row["meter"] for row in rows} == {MANIFEST.layouts[0].meter}
    assert result.readings == 3


def test_more_than_one_piece_comes_whole_and_in_order(tmp_path: Path) -> None:
    rows, result = exported(fill(tmp_path, make_scans(1, 1_200)))
    firsts = [float(row["value"]) for row in rows[::3]]
    assert firsts == [float(number) for number in range(1, 1_201)]
    assert result.readings == 3_600


def test_times_bound_what_is_written(tmp_path: Path) -> None:
    path = fill(tmp_path, make_scans(1, 10))
    from_ms, to_ms = make_scan(4).observed_at_ms, make_scan(6).observed_at_ms
    rows, _ = exported(path, from_ms=from_ms, to_ms=to_ms)
    assert [float(row["value"]) for row in rows[::3]] == [4, 5]


def test_meter_and_point_choose_columns(tmp_path: Path) -> None:
    path = fill(tmp_path, [make_scan(1), make_scan(1, layout=1)])
    second = MANIFEST.layouts[1]
    rows, _ = exported(path, meter=second.meter, point=second.points[7].name)
    assert [(row["meter"], row["point"]) for row in rows] == [(second.meter, second.points[7].name)]


def test_unknown_meter_or_point_is_said_with_the_nearest(tmp_path: Path) -> None:
    path = fill(tmp_path, [make_scan(1)])
    meter, point = MANIFEST.layouts[0].meter, MANIFEST.layouts[0].points[0].name
    with pytest.raises(AgentError, match=f"holds nothing of a meter '{meter}x' .did you mean '{meter}'"):
        exported(path, meter=f"{meter}x")
    with pytest.raises(AgentError, match=f"holds no point '{point}x'"):
        exported(path, point=f"{point}x")


def test_missing_scans_are_counted_by_reason_and_within_the_times(tmp_path: Path) -> None:
    at = make_scan(5).observed_at_ms
    gaps = [
        Gap(7, GapReason.THINNED, at, at + 1_000),
        Gap(2, GapReason.UNREADABLE, 0, 0),
        Gap(1, GapReason.THINNED, at, at),
    ]
    path = fill(tmp_path, [make_scan(1), *gaps])
    _, result = exported(path)
    assert list(result.remarks()) == ["8 scans are missing: thinned", "2 scans are missing: unreadable"]
    _, early = exported(path, to_ms=at - 1)
    assert list(early.remarks()) == ["2 scans are missing: unreadable"]
    assert [(gap.reason, gap.scans, gap.from_ms, gap.to_ms) for gap in count_gaps(path)] == [
        ("thinned", 8, at, at + 1_000),
        ("unreadable", 2, 0, 0),
    ]


def test_export_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = fill(tmp_path, make_scans(1, 100))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    exported(path)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("2026-03-01", 1_772_323_200_000),
        ("2026-03-01T06:30:00Z", 1_772_346_600_000),
        ("2026-03-01T06:30:00+01:00", 1_772_343_000_000),
    ],
)
def test_instants_are_utc_unless_they_say_otherwise(text: str, expected_ms: int) -> None:
    assert parse_instant(text, "--from") == expected_ms


def test_date_that_is_none_is_one_sentence() -> None:
    with pytest.raises(AgentError, match="--from 'yesterday' is no date; write 2026-03-01"):
        parse_instant("yesterday", "--from")
