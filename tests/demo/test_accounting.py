"""Every frame that a meter served ends in exactly one class, and the bad classes are found."""

from typing import Any

from demo.accounting import SERIAL_POINT, Account, Held, Served, account
from protocol.quality import Quality

AT_MS = 1_781_222_400_000
AGENT, TECHNICIAN = "127.0.0.1:40001", "127.0.0.1:40002"


def served(serial: int, *, value: float = 230.1, client: str = AGENT) -> Served:
    values = {SERIAL_POINT: float(serial), "voltage_l1_n": value}
    return Served("heater", serial, AT_MS + 1_000 * serial, values, client)


def held(serial: int, **changes: Any) -> Held:
    values = {SERIAL_POINT: float(serial), "voltage_l1_n": 230.1} | changes
    return Held("heater", AT_MS + 1_000 * serial + 5, values, {})


def timed_out(serial: int) -> Held:
    quality = {SERIAL_POINT: int(Quality.TIMEOUT), "voltage_l1_n": int(Quality.TIMEOUT)}
    return Held("heater", AT_MS + 1_000 * serial + 900, {}, quality)


def counts(result: Account) -> dict[str, int]:
    fields = (
        "committed",
        "on_edge",
        "timed_out",
        "lost_before_fsync",
        "read_by_others",
        "silent",
        "doubled",
        "altered",
    )
    return {name: number for name in fields if (number := getattr(result, name))}


FRAMES = [served(1), served(2), served(3)]


def test_committed_and_waiting_frames_are_told_apart() -> None:
    result = account(FRAMES, [held(1), held(2)], [held(2), held(3)])
    assert counts(result) == {"committed": 2, "on_edge": 1}
    assert (result.served, result.stored, result.is_clean) == (3, 3, True)


def test_a_frame_that_nobody_has_is_silent() -> None:
    result = account(FRAMES, [held(1), held(3)], [])
    assert counts(result) == {"committed": 2, "silent": 1}
    assert result.findings == [f"silent: heater frame 2 served at {AT_MS + 2_000}"]
    assert not result.is_clean


def test_a_frame_that_the_hub_has_twice_is_doubled() -> None:
    assert counts(account(FRAMES, [held(1), held(2), held(2), held(3)], [])) == {"committed": 3, "doubled": 1}


def test_a_frame_with_another_value_is_altered() -> None:
    result = account(FRAMES, [held(1), held(2, voltage_l1_n=230.2), held(3)], [])
    assert counts(result) == {"committed": 3, "altered": 1}


def test_an_answer_that_came_too_late_is_the_time_out_that_was_recorded() -> None:
    assert counts(account(FRAMES, [held(1), timed_out(2), held(3)], [])) == {"committed": 2, "timed_out": 1}


def test_one_recorded_time_out_excuses_one_frame() -> None:
    result = account(FRAMES, [held(1), timed_out(2)], [timed_out(2)])
    assert counts(result) == {"committed": 1, "timed_out": 1, "silent": 1}


def test_what_a_killed_agent_had_in_hand_is_lost_before_fsync() -> None:
    result = account(FRAMES, [held(1), held(2)], [], agent_deaths_ms=[AT_MS + 3_400])
    assert counts(result) == {"committed": 2, "lost_before_fsync": 1}


def test_a_death_long_after_excuses_nothing() -> None:
    result = account(FRAMES, [held(1), held(2)], [], agent_deaths_ms=[AT_MS + 60_000])
    assert counts(result) == {"committed": 2, "silent": 1}


def test_a_technician_who_reads_a_meter_once_takes_nothing_from_the_agent() -> None:
    frames = [*FRAMES, served(4, client=TECHNICIAN)]
    assert counts(account(frames, [held(1), held(2), held(3)], [])) == {"committed": 3, "read_by_others": 1}
