"""A simulated serial line takes the time of a real one, and units on it answer and fail as real ones do."""

import os
import time
from pathlib import Path

import pytest
from rtu_client import RtuClient

from demo.processes import wait_until
from simulator.errors import SimulatorError
from simulator.faults import Fault, FaultKind
from simulator.line_process import line_process
from simulator.register_unit import RegisterUnit
from simulator.rtu import LineSettings, line_limit, read_exchange, rtu_frame
from simulator.serial_line import SimulatedLine, serial_line

WAIT_S = 20
FAST = LineSettings(baud=115_200)
READ_2 = bytes((3, 0, 0, 0, 2))
ANSWER = bytes((3, 4, 0x09, 0x08, 0x00, 0x2A))


def make_unit(unit_id: int = 1, **changes: object) -> RegisterUnit:
    return RegisterUnit(unit_id, holding={0: 0x0908, 1: 42, 2: 7}, writable=[2], **changes)  # type: ignore[arg-type] # tests vary what they name


def test_units_of_one_line_answer_under_their_ids() -> None:
    other = RegisterUnit(2, holding={0: 1, 1: 2})
    with serial_line(make_unit(), other, settings=FAST) as line, RtuClient(line.path, FAST.baud) as client:
        assert client.ask(1, READ_2, 9) == rtu_frame(1, ANSWER)
        assert client.ask(2, READ_2, 9) == rtu_frame(2, bytes((3, 4, 0, 1, 0, 2)))
        client.send(3, READ_2)
        assert client.is_silent()
    assert (line.counters.requests, line.counters.answers) == (3, 2)


def test_answer_is_never_there_before_the_line_can_have_carried_it() -> None:
    settings = LineSettings(baud=9600, stop_bits=2)
    unit = RegisterUnit(1, holding=dict.fromkeys(range(20), 1))
    with serial_line(unit, settings=settings) as line, RtuClient(line.path, 9600) as client:
        exchanges = [read_exchange(20)] * 3
        began = time.perf_counter()
        for asked, answered in exchanges:
            assert asked == len(rtu_frame(1, READ_2))
            assert len(client.ask(1, bytes((3, 0, 0, 0, 20)), answered)) == answered
        # The silence after the last answer is the next request's.
        assert time.perf_counter() - began >= line_limit(exchanges, settings) - 3 * settings.silence_s


def test_unit_takes_its_own_time_to_answer() -> None:
    with serial_line(make_unit(turnaround_s=0.05), settings=FAST) as line, RtuClient(line.path, FAST.baud) as client:
        began = time.perf_counter()
        client.ask(1, READ_2, 9)
        assert time.perf_counter() - began >= line_limit([read_exchange(2)], FAST, 0.05) - FAST.silence_s


def test_limit_of_a_line_keeps_both_silences() -> None:
    settings = LineSettings(baud=9600)
    assert line_limit([(8, 25)], settings) == pytest.approx((8 + 25 + 7) * 10 / 9600)
    assert line_limit([(8, 25)] * 2, settings, 0.01) == pytest.approx(2 * ((8 + 25 + 3.5) * 10 / 9600 + 0.01))
    assert LineSettings(baud=38_400).silence_s == 0.00175
    assert LineSettings(parity="E").bits_per_character == LineSettings(stop_bits=2).bits_per_character == 11


def test_strict_line_ignores_a_request_that_comes_into_an_answer() -> None:
    settings = LineSettings(baud=2400)
    unit = RegisterUnit(1, holding=dict.fromkeys(range(60), 1))
    with serial_line(unit, settings=settings, is_strict=True) as line, RtuClient(line.path, 2400) as client:
        client.send(1, bytes((3, 0, 0, 0, 60)))
        client.receive(1)
        client.send(1, READ_2)
        client.receive(124)
        wait_until(lambda: line.counters.requests == 2, WAIT_S, "the request that came too soon")
        assert (line.counters.answers, line.counters.ignored_for_gap) == (1, 1)
        assert len(client.ask(1, READ_2, 9)) == 9


def test_unit_at_another_speed_hears_nothing() -> None:
    units = [make_unit(), make_unit(2)]
    with serial_line(*units, settings=FAST, settings_of={2: LineSettings(19_200)}) as line:
        with RtuClient(line.path, FAST.baud) as client:
            client.send(2, READ_2)
            assert client.is_silent()
            assert client.ask(1, READ_2, 9) == rtu_frame(1, ANSWER)
        with RtuClient(line.path, 19_200) as client:
            assert client.ask(2, READ_2, 9) == rtu_frame(2, ANSWER)
    assert line.counters.ignored_for_speed == 1


def test_damaged_request_is_counted_and_not_answered() -> None:
    with serial_line(make_unit(), settings=FAST) as line, RtuClient(line.path, FAST.baud) as client:
        os.write(client.fd, rtu_frame(1, READ_2)[:-1] + b"\0")
        assert client.is_silent()
        assert client.ask(1, READ_2, 9) == rtu_frame(1, ANSWER)
    assert line.counters.crc_errors == 1


def test_register_is_written_by_one_and_by_broadcast() -> None:
    units = [make_unit(), make_unit(2)]
    with serial_line(*units, settings=FAST) as line, RtuClient(line.path, FAST.baud) as client:
        assert client.ask(1, bytes((6, 0, 2, 0, 99)), 8) == rtu_frame(1, bytes((6, 0, 2, 0, 99)))
        assert client.ask(2, bytes((3, 0, 2, 0, 1)), 7) == rtu_frame(2, bytes((3, 2, 0, 7)))
        client.send(0, bytes((6, 0, 2, 0, 5)))
        assert client.is_silent()
        for unit_id in (1, 2):
            assert client.ask(unit_id, bytes((3, 0, 2, 0, 1)), 7) == rtu_frame(unit_id, bytes((3, 2, 0, 5)))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FaultKind.DEAD, b""),
        (FaultKind.TRUNCATED, rtu_frame(1, ANSWER)[:4]),
        (FaultKind.BAD_CRC, rtu_frame(1, ANSWER)[:-1] + bytes((rtu_frame(1, ANSWER)[-1] ^ 0xFF,))),
        (FaultKind.FOREIGN_BYTES, b"\x00\xff\x00" + rtu_frame(1, ANSWER)),
        (FaultKind.WRONG_UNIT_ID, rtu_frame(2, ANSWER)),
        (FaultKind.WRONG_FUNCTION, rtu_frame(1, b"\x04" + ANSWER[1:])),
        (FaultKind.WRONG_BYTE_COUNT, rtu_frame(1, b"\x03\x06" + ANSWER[2:])),
        (FaultKind.SHORT, rtu_frame(1, b"\x03\x02" + ANSWER[2:4])),
        (FaultKind.EXCEPTION, rtu_frame(1, b"\x83\x06")),
    ],
)
def test_scripted_fault_meets_one_request(kind: FaultKind, expected: bytes) -> None:
    with serial_line(make_unit(), settings=FAST) as line, RtuClient(line.path, FAST.baud) as client:
        line.set_fault("unit-1", Fault(kind, requests=1))
        assert client.ask(1, READ_2, len(expected)) == expected
        assert client.is_silent()
        assert client.ask(1, READ_2, 9) == rtu_frame(1, ANSWER)


def test_late_answer_comes_into_the_next_request() -> None:
    with serial_line(make_unit(), settings=FAST) as line, RtuClient(line.path, FAST.baud) as client:
        line.set_fault("unit-1", Fault(FaultKind.LATE, requests=1))
        client.send(1, bytes((3, 0, 2, 0, 1)))
        assert client.is_silent()
        assert client.ask(1, READ_2, 16) == rtu_frame(1, bytes((3, 2, 0, 7))) + rtu_frame(1, ANSWER)


def test_fault_that_a_serial_line_cannot_have_is_refused() -> None:
    with pytest.raises(ValueError, match="'refused' cannot happen on this kind of line"):
        SimulatedLine([make_unit()]).set_fault("unit-1", Fault(FaultKind.REFUSED))


def test_unplugged_line_hangs_up_and_is_found_again_under_its_name(tmp_path: Path) -> None:
    link = tmp_path / "usb-serial-0"
    with serial_line(make_unit(), settings=FAST, link=link) as line:
        assert line.path == str(link)
        with RtuClient(line.path, FAST.baud) as client:
            line.stop()
            with pytest.raises(OSError, match="Input/output error"):
                os.write(client.fd, b"\0")
        assert not link.exists()
        line.start()
        with RtuClient(line.path, FAST.baud) as client:
            assert client.ask(1, READ_2, 9) == rtu_frame(1, ANSWER)
    assert not link.is_symlink()


def test_link_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(SimulatorError, match="taken cannot be made: File exists"):
        SimulatedLine([make_unit()], link=tmp_path / "taken").start()


def test_line_runs_in_a_process_of_its_own() -> None:
    with line_process(make_unit(), settings=FAST) as line, RtuClient(line.path, FAST.baud) as client:
        assert client.ask(1, READ_2, 9) == rtu_frame(1, ANSWER)
        assert line.counters().requests == 1
