"""Settings come from defaults, then the file, then the environment; every fault is one sentence."""

import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from edge_agent.errors import SettingsError
from edge_agent.settings import ENVIRONMENT_PREFIX, Settings, list_keys, load_settings, read_password

MINIMAL = """
controller_id = "hut-0001"
site = "site.toml"
[broker]
host = "broker.example.net"
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "site.toml").touch()
    return tmp_path


def write(directory: Path, text: str) -> Path:
    path = directory / "agent.toml"
    path.write_text(text, encoding="utf-8")
    return path


def load(directory: Path, text: str, **environment: str) -> Settings:
    return load_settings(write(directory, text), environment)


def test_defaults_fill_in_what_a_minimal_file_leaves_out(directory: Path) -> None:
    settings = load(directory, MINIMAL)
    assert settings.broker_username == "hut-0001"
    assert settings.broker.port_or_default == 1883
    assert settings.uplink.send_every_s == 60
    assert settings.broker.keepalive_s == 1200
    assert settings.data_dir == Path("/var/lib/meterhaul")


def test_relative_paths_are_relative_to_the_file(directory: Path) -> None:
    settings = load(directory, MINIMAL.replace("[broker]", 'data_dir = "data"\n[broker]'))
    assert settings.site == directory / "site.toml"
    assert settings.buffer_path == directory / "data" / "buffer.sqlite3"


def test_encryption_moves_the_default_port(directory: Path) -> None:
    assert load(directory, MINIMAL + "[broker.tls]\n").broker.port_or_default == 8883


def test_environment_wins_over_the_file(directory: Path) -> None:
    settings = load(
        directory,
        MINIMAL,
        METERHAUL_EDGE_BROKER_HOST="elsewhere",
        METERHAUL_EDGE_UPLINK_SEND_EVERY_S="2.5",
        METERHAUL_EDGE_DATA_DIR="/data",
        UNRELATED="x",
    )
    assert settings.broker.host == "elsewhere"
    assert settings.uplink.send_every_s == 2.5
    assert settings.data_dir == Path("/data")


def test_real_environment_is_read_when_none_is_given(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METERHAUL_EDGE_CONTROLLER_ID", "hut-0002")
    assert load_settings(write(directory, MINIMAL)).controller_id == "hut-0002"


FAULTS = {
    "syntax": ("controller_id = ", "agent.toml is not valid TOML"),
    "missing": ("[broker]\nhost = 'b'\n", "controller_id: is missing; add it"),
    "number": (MINIMAL + "port = 'abc'\n", "agent.toml: broker.port: 'abc' is not a whole number"),
    "range": (MINIMAL + "port = 70000\n", "broker.port: 70000 is out of range; it must be at most 65535"),
    "unknown key": (
        MINIMAL + "hots = 'b'\n",
        "broker.hots: is not a key that is known here (did you mean 'broker.host'?)",
    ),
    "unknown table": (MINIMAL + "[uplnik]\n", "uplnik: is not a key that is known here"),
    "identifier": (MINIMAL.replace("hut-0001", "Hut 1"), "controller_id: 'Hut 1' is not a valid id"),
    "choice": (MINIMAL + "[log]\nlevel = 'loud'\n", "log.level: 'loud' is not a choice; use 'debug', 'info'"),
    "table": ("controller_id = 'a'\nbroker = 3\n", "broker: 3 is not a table"),
    "half a pair": (MINIMAL + "[broker.tls]\ncert = 'a'\n", "broker.tls: has only one of 'cert' and 'key'"),
    "no such file": (MINIMAL + "password_file = 'none'\n", "broker.password_file: there is no file"),
    "empty path": (MINIMAL.replace("site.toml", ""), "site: names no file"),
}


@pytest.mark.parametrize(("text", "expected"), FAULTS.values(), ids=FAULTS)
def test_fault_names_file_key_value_and_remedy(directory: Path, text: str, expected: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(directory, text)
    message = str(caught.value)
    assert expected in message
    assert message.startswith(str(directory / "agent.toml"))
    assert "\n" not in message
    assert caught.value.exit_code == 78


def test_missing_file_says_how_to_name_another(directory: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml does not exist: .*--config"):
        load_settings(directory / "none.toml", {})


def test_several_faults_are_counted(directory: Path) -> None:
    with pytest.raises(SettingsError, match=r"is missing; add it \(and 1 more\)$"):
        load(directory, "")


def test_fault_of_a_variable_names_the_variable(directory: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"^environment variable METERHAUL_EDGE_BROKER_PORT: broker\.port: 'x' is not"
    ):
        load(directory, MINIMAL, METERHAUL_EDGE_BROKER_PORT="x")


def test_unknown_variable_is_refused_with_the_nearest_one(directory: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean METERHAUL_EDGE_BROKER_HOST"):
        load(directory, MINIMAL, METERHAUL_EDGE_BROKER_HOSTS="x")


def test_password_is_the_first_line_of_its_file(directory: Path) -> None:
    (directory / "password").write_text("s3cret\n", encoding="utf-8")
    assert read_password(load(directory, MINIMAL + "password_file = 'password'\n")) == "s3cret"
    assert read_password(load(directory, MINIMAL)) is None


def test_empty_password_file_is_refused(directory: Path) -> None:
    (directory / "password").write_text("\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"password is empty; write the broker password"):
        read_password(load(directory, MINIMAL + "password_file = 'password'\n"))


def test_example_shows_every_key_with_its_default(directory: Path) -> None:
    example = resources.files("edge_agent").joinpath("example-agent.toml").read_text(encoding="utf-8")
    as_shipped = tomllib.loads(example)
    assert set(as_shipped) == {"controller_id", "broker", "uplink", "polling", "buffer", "orders", "log"}

    everything = tomllib.loads("\n".join(_uncommented(example)))
    assert set(_leaves(everything)) == set(list_keys())
    for file in ("ca.pem", "controller.pem", "controller.key", "broker-password"):
        (directory / file).touch()
    text = "\n".join(_uncommented(example)).replace("/etc/meterhaul/", f"{directory}/")
    # What is nothing unless it is written cannot be shown otherwise.
    unsaid = {"monthly_budget_mb": None, "interface": None}
    assert load(directory, text).uplink.model_copy(update=unsaid) == load(directory, MINIMAL).uplink
    assert load(directory, text).buffer == load(directory, MINIMAL).buffer
    assert load(directory, text).orders == load(directory, MINIMAL).orders
    assert load(directory, text).log == load(directory, MINIMAL).log


def _uncommented(example: str) -> Iterator[str]:
    for line in example.splitlines():
        bare = line.removeprefix("# ")
        yield bare if line.startswith("# ") and ("=" in bare.split()[1:2] or bare.startswith("[")) else line


def _leaves(table: dict[str, object], above: str = "") -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield above + key


def test_prefix_of_the_variables_is_the_documented_one() -> None:
    example = resources.files("edge_agent").joinpath("example-agent.toml").read_text(encoding="utf-8")
    assert f"{ENVIRONMENT_PREFIX}BROKER_HOST" in example
