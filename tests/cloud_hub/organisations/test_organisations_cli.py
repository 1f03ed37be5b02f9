"""Organisations are added and listed at the console."""

import json

import pytest

from cloud_hub.cli import main


@pytest.fixture(autouse=True)
def _database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METERHAUL_DATABASE_URL", database_url)


def test_organisations_are_added_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["organisations", "add", "alps", "Alps Energy", "--kind", "reseller"]) == 0
    assert "alps is below main now." in capsys.readouterr().out
    assert main(["organisations", "add", "hut", "Hut", "--parent", "alps", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["depth"] == 2
    assert main(["organisations", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["  alps  Alps Energy (reseller)", "    hut  Hut (customer)"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "main", "Main"], "the slug 'main' is taken on this hub"),
        (["add", "Big", "Big"], "slug: string should match pattern"),
        (["add", "b", "B", "--parent", "nobody"], "there is no organisation 'nobody'"),
    ],
)
def test_what_cannot_be_added_is_said(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["organisations", *words]) == 1
    assert said in capsys.readouterr().err
