"""Wherever a password is typed it is masked, and password managers may fill it in."""

import re
from importlib.resources import files

import pytest

HUB = files("cloud_hub")
INPUTS = [
    (page.name, found)
    for folder in (HUB / "templates").iterdir()
    if folder.is_dir()
    for page in folder.iterdir()
    for found in re.findall(r"<input[^>]*>", page.read_text(encoding="utf-8"))
    if 'type="password"' in found or re.search(r'name="(\w*password|again)"', found)
]


def test_there_are_fields_for_passwords() -> None:
    assert {page for page, _ in INPUTS} == {"account.html", "invitation.html", "login.html", "reset.html"}


@pytest.mark.parametrize(("page", "field"), INPUTS)
def test_a_password_is_masked_and_may_be_filled_in(page: str, field: str) -> None:
    assert 'type="password"' in field, page
    assert re.search(r'autocomplete="(current|new)-password"', field), page
    assert "readonly" not in field, page


def test_no_script_listens_to_what_is_pasted() -> None:
    scripts = [script for script in (HUB / "static").iterdir() if script.name.endswith(".js")]
    assert scripts
    assert [script.name for script in scripts if "paste" in script.read_text(encoding="utf-8")] == []
