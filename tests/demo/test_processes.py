"""Children are supervised, and none outlives the one that started it."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from demo.errors import MissingProgram, NotReady
from demo.processes import Process, accepts_connections, free_port, wait_until

WAIT_S = 10
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
PATIENT = "import signal; print('up', flush=True); signal.pause()"


def make_process(folder: Path, code: str = PATIENT, **changes: object) -> Process:
    return Process("child", [sys.executable, "-c", code], log_file=folder / "child.log", **changes)  # type: ignore[arg-type] # tests vary what they name


def wait_for_word(process: Process, word: str = "up") -> None:
    wait_until(lambda: process.require_running() and word in process.last_words(), WAIT_S, f"the child to say {word}")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_child_ends_when_asked(tmp_path: Path) -> None:
    with make_process(tmp_path) as process:
        wait_for_word(process)
        pid = process.pid
    assert process.returncode == -signal.SIGTERM
    assert not is_alive(pid)


def test_stubborn_child_is_killed_after_the_deadline(tmp_path: Path) -> None:
    with make_process(tmp_path, STUBBORN) as process:
        wait_for_word(process)
        process.stop(timeout_s=0.1)
        assert process.returncode == -signal.SIGKILL


def test_children_of_a_child_end_with_it(tmp_path: Path) -> None:
    code = f"import subprocess, sys; print('grandchild', subprocess.Popen([sys.executable, '-c', {PATIENT!r}]).pid, flush=True); sys.stdin.read(); import signal; signal.pause()"
    with make_process(tmp_path, code) as process:
        wait_for_word(process, "grandchild")
        grandchild = int(process.last_words().split("grandchild")[1].split()[0])
        process.kill()
    wait_until(lambda: not is_alive(grandchild), WAIT_S, "the grandchild to end")


def test_child_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    parent_code = textwrap.dedent(f"""
        import signal, sys
        from pathlib import Path
        from demo.processes import Process
        child = Process("child", [sys.executable, "-c", {STUBBORN!r}], log_file=Path({str(tmp_path)!r}) / "child.log")
        child.start()
        print(child.pid, flush=True)
        signal.pause()
    """)
    with subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_alive(child)
        # A parent that dies before its child could ask to be told of it leaves an orphan: wait for the child.
        wait_until((tmp_path / "child.log").read_bytes, WAIT_S, "the child to be up")
        parent.kill()
    wait_until(lambda: not is_alive(child), WAIT_S, "the child to end")


def test_restarted_child_is_another_process_with_the_same_log(tmp_path: Path) -> None:
    with make_process(tmp_path) as process:
        wait_for_word(process)
        first = process.pid
        process.restart()
        wait_for_word(process, "up | up")
        assert process.pid != first


def test_child_that_ended_early_is_quoted(tmp_path: Path) -> None:
    with make_process(tmp_path, "import sys; sys.exit('no such setting')") as process:
        assert process.wait(WAIT_S) == 1
        with pytest.raises(NotReady, match=r"child ended with 1; .* ends: no such setting"):
            process.require_running()


def test_environment_is_added_to_ours(tmp_path: Path) -> None:
    code = "import os; print(os.environ['METERHAUL_ODD'], 'PATH' in os.environ)"
    with make_process(tmp_path, code, env={"METERHAUL_ODD": "value"}) as process:
        process.wait(WAIT_S)
        assert process.last_words() == "value True"


def test_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingProgram, match="child: the program nonesuch is not installed"):
        Process("child", ["nonesuch"], log_file=tmp_path / "log").start()


def test_vain_wait_says_for_what() -> None:
    with pytest.raises(NotReady, match=r"waited 0\.05 s in vain for the moon"):
        wait_until(lambda: False, 0.05, "the moon")


def test_free_port_is_free() -> None:
    port = free_port()
    assert not accepts_connections(port)
    with socket.create_server(("127.0.0.1", port)):
        assert accepts_connections(port)
