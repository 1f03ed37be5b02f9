"""The command finds its groups, imports no other, and says what is missing."""

import subprocess
import sys

import pytest

from meterhaul.cli import main

HUB_LIBRARIES = ("flask", "sqlalchemy", "psycopg2", "numpy", "alembic", "granian")


@pytest.mark.parametrize("group", ["demo", "edge", "hub", "provision", "simulate"])
def test_every_group_has_help(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([group, "--help"])
    assert ended.value.code == 0
    assert f"usage: meterhaul {group}" in capsys.readouterr().out


def test_help_names_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {group} " in shown for group in ("demo", "edge", "hub", "provision", "simulate"))


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["frob"]) == 2
    assert "there is no command 'frob'" in capsys.readouterr().err


def test_a_missing_library_names_the_extra_to_install() -> None:
    code = "import sys; sys.modules['sqlalchemy'] = None; from meterhaul.cli import main; sys.exit(main(['demo']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "meterhaul demo: the library 'sqlalchemy' is not installed; install it with: pip install 'meterhaul[demo]'\n"
    )


def test_the_agent_loads_no_library_of_the_hub() -> None:
    code = f"import sys, edge_agent.app; print([name for name in {HUB_LIBRARIES} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
