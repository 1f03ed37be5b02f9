import stat
from pathlib import Path

import pytest

from cloud_hub.errors import SettingsError
from cloud_hub.web.secret_key import create_secret_key, read_secret_key


def test_a_new_key_is_random_and_private(tmp_path: Path) -> None:
    first, second = tmp_path / "new" / "first", tmp_path / "second"
    assert create_secret_key(first)
    assert create_secret_key(second)
    assert read_secret_key(first) != read_secret_key(second)
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert [entry.name for entry in first.parent.iterdir()] == ["first"]


def test_an_existing_key_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "key"
    create_secret_key(path)
    before = read_secret_key(path)
    assert not create_secret_key(path)
    assert read_secret_key(path) == before


def test_a_missing_key_names_the_file_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"key does not exist: make it with 'meterhaul hub serve --create-key'"
    ) as caught:
        read_secret_key(tmp_path / "key")
    assert caught.value.exit_code == 78


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret")
    with pytest.raises(SettingsError, match="fewer than 32 bytes"):
        read_secret_key(tmp_path / "key")


def test_a_key_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be written"):
        create_secret_key(tmp_path / "file" / "key")
