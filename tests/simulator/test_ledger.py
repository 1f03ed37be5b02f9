"""The ledger keeps every frame, through kills and restarts."""

from pathlib import Path

import pytest

from simulator.ledger import Ledger, LedgerReader, ServedFrame, read_ledger


def make_frame(serial: int = 1, meter: str = "heater", **changes: object) -> ServedFrame:
    settings = {"served_at_ms": 1_790_000_000_000 + serial, "values": {"voltage_l1_n": 230.1}, **changes}
    return ServedFrame(meter=meter, serial=serial, **settings)  # type: ignore[arg-type] # tests vary what they name


def test_frames_are_readable_while_the_ledger_is_open(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger.jsonl"
    ledger = Ledger(path)
    frames = [make_frame(1), make_frame(2, answered=False, fault="dead")]
    for frame in frames:
        ledger.append(frame)
    assert list(read_ledger(path)) == frames
    ledger.close()


def test_serials_and_the_beginning_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first = Ledger(path)
    for frame in (make_frame(1), make_frame(2), make_frame(1, "pump")):
        first.append(frame)
    first.close()
    again = Ledger(path)
    assert [again.last_serial(meter) for meter in ("heater", "pump", "other")] == [2, 1, 0]
    assert again.first_served_at_ms == make_frame(1).served_at_ms
    again.close()


@pytest.mark.parametrize("torn", ['{"meter":"heater","ser', "x" * 100_000], ids=["short", "long"])
def test_torn_line_is_left_out_and_cut_off_by_the_next_run(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "ledger.jsonl"
    first = Ledger(path)
    first.append(make_frame(1))
    first.close()
    with path.open("a") as file:
        file.write(torn)
    assert list(read_ledger(path)) == [make_frame(1)]
    again = Ledger(path)
    again.append(make_frame(2))
    again.close()
    assert list(read_ledger(path)) == [make_frame(1), make_frame(2)]


def test_absent_ledger_is_empty(tmp_path: Path) -> None:
    assert list(read_ledger(tmp_path / "none")) == []


def test_ledger_without_a_file_still_counts() -> None:
    ledger = Ledger(None)
    ledger.append(make_frame(7))
    assert ledger.last_serial("heater") == 7


def test_a_reader_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    reader = LedgerReader(path)
    assert list(reader.read_on()) == []
    ledger = Ledger(path)
    ledger.append(make_frame(1))
    assert [frame.serial for frame in reader.read_on()] == [1]
    ledger.append(make_frame(2))
    with path.open("ab") as torn:
        torn.write(b'{"meter": "hea')
    assert [frame.serial for frame in reader.read_on()] == [2]
    assert list(reader.read_on()) == []
    ledger.close()
