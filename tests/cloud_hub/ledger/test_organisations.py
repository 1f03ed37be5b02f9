"""An organisation's own intervals, thresholds and periods, by the commands that set them."""

import json
from datetime import timedelta

import pytest
from ledger_factories import MONDAY, Counted, add_counted, amounts, climb, read, recompute, store
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from cloud_hub.audit.models import AuditEvent
from cloud_hub.cli import main

TUESDAY = MONDAY + timedelta(days=1)


@pytest.fixture
def counted(engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Counted:
    """A meter with a day in the ledger, 100 Wh in each half hour."""
    monkeypatch.setenv("METERHAUL_DATABASE_URL", database_url)
    counted = add_counted(engine)
    store(engine, counted, climb(MONDAY, 49))
    recompute(engine, TUESDAY)
    return counted


def test_an_organisation_counts_in_intervals_of_its_own(
    engine: Engine, counted: Counted, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["organisation", "main", "--interval-minutes", "60"]) == 0
    assert "Main organisation (main): intervals of 60 minutes" in capsys.readouterr().out
    recompute(engine, TUESDAY)
    assert amounts(read(engine, counted, MONDAY.date())) == [200] * 24
    assert main(["organisation", "main", "--interval-minutes", "7"]) == 1
    assert "an interval has 5, 15, 30 or 60 minutes, not 7" in capsys.readouterr().err


@pytest.mark.usefixtures("counted")
def test_what_is_kept_is_set_and_shown(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["organisation", "main", "--readings-kept-days", "400", "--audit-kept-days", "forever", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["readings_kept_days"], shown["ledger_kept_days"], shown["audit_kept_days"]) == (400, None, None)
    with Session(engine) as session:
        assert set(session.scalars(select(AuditEvent.action))) == {"retention_changed"}
    assert main(["organisation", "main", "--ledger-kept-days", "a year"]) == 1
    assert "--ledger-kept-days is 'a year': send a number of days from 1, or 'forever'" in capsys.readouterr().err
    assert main(["organisation", "nobody"]) == 1
    assert "there is no organisation 'nobody'" in capsys.readouterr().err


def test_a_threshold_of_its_own_validates_the_ledger_anew(
    engine: Engine, counted: Counted, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = ["validation", "main", "--kind", "electricity_meter", "--rule", "zero_use", "--set", "hours=6"]
    assert main(changed) == 0
    assert "zero_use       hours = 6" in capsys.readouterr().out
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT meter_id FROM ledger_dirty")).all() == [counted.meter_id]
    assert main([*changed[:-2], "--usual"]) == 0
    assert "The usual thresholds hold." in capsys.readouterr().out


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rule", "spike", "--set", "height=2"], "height"),
        (["--rule", "spikes", "--set", "ratio=2"], "spikes"),
        (["--set", "ratio=2"], "say which rule is meant"),
        (["--rule", "spike", "--set", "ratio"], "is no NAME=VALUE"),
        (["--rule", "spike", "--usual"], "wants nothing special of rule 'spike'"),
    ],
)
def test_a_threshold_that_cannot_be_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validation", "main", *arguments]) == 1
    assert message in capsys.readouterr().err
