"""A file is stored as a whole or not at all, once, and says what it would do before it does it."""

import threading
from datetime import UTC, datetime

import pytest
from hub_factories import add_controller, add_meter, add_point, add_scans, add_site
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from transfer_factories import NORTH, WHO, count_rows, import_text, stored_readings

from cloud_hub.errors import Invalid, NotFound
from cloud_hub.transfer import importing, storing
from cloud_hub.transfer.targets import Target, quantity_of
from cloud_hub.work.compaction import compact
from protocol.quality import Quality

AT = datetime(2026, 1, 1, tzinfo=UTC)
WIDE = "meter,observed_at,active_energy_import_total [kWh],voltage_l1_n\n"
TWO = f"{WIDE}Main hall,2026-01-01T00:00:00Z,1000.5,230\nMain hall,2026-01-01T00:30:00Z,1001,231\n"
BEHIND = Target(controller="north-1")


@pytest.fixture(autouse=True)
def _site(session: Session) -> None:
    add_site(session)
    session.commit()


def add_known_meter(session: Session) -> None:
    site = add_site(session, "south", name="South hut")
    meter = add_meter(session, add_controller(session, site), "heater")
    points = [
        add_point(session, meter, "volume", quantity="volume", unit="m3", kind="counter"),
        add_point(session, meter, "frequency", quantity="frequency", unit="Hz"),
    ]
    add_scans(session, meter, points, [[7.0, 50.0]], start=AT)
    session.commit()


def test_meters_and_points_are_made_and_readings_stored_in_their_units(engine: Engine) -> None:
    imported = import_text(engine, TWO)
    assert (imported.is_stored, imported.new, imported.rejected) == (True, 4, 0)
    assert [(one.slug, one.controller, one.is_new) for one in imported.meters] == [("main-hall", "import-north", True)]
    assert [(point, value, quality) for _, point, _, value, quality in stored_readings(engine)] == [
        ("active_energy_import_total", 1_000_500.0, 0),
        ("active_energy_import_total", 1_001_000.0, 0),
        ("voltage_l1_n", 230.0, 0),
        ("voltage_l1_n", 231.0, 0),
    ]


def test_what_is_stored_is_due_in_the_ledger_shown_as_newest_and_in_the_audit_trail(engine: Engine) -> None:
    import_text(engine, TWO)
    with engine.connect() as connection:
        dirty = connection.execute(text("SELECT from_at, to_at FROM ledger_dirty")).one()
        assert [at.isoformat()[11:16] for at in dirty] == ["00:00", "00:30"]
        assert set(connection.scalars(text("SELECT value FROM point_latest"))) == {1_001_000.0, 231.0}
        who, action, detail = connection.execute(text("SELECT who, action, detail FROM audit_events")).one()
    assert (who, action) == (WHO, "readings_imported")
    assert (detail["source"], detail["readings"]) == ("file.csv", 4)


def test_a_file_that_comes_again_stores_nothing(engine: Engine) -> None:
    import_text(engine, TWO)
    before = stored_readings(engine), count_rows(engine, "scans", "layouts", "meters", "points", "ledger_dirty")
    again = import_text(engine, TWO)
    assert (again.new, again.known, again.rejected) == (0, 4, 0)
    assert (
        stored_readings(engine),
        count_rows(engine, "scans", "layouts", "meters", "points", "ledger_dirty"),
    ) == before


def test_a_file_that_goes_on_stores_only_what_is_new(engine: Engine) -> None:
    import_text(engine, TWO)
    longer = import_text(engine, TWO + "Main hall,2026-01-01T01:00:00Z,1002,229\n")
    assert (longer.new, longer.known) == (2, 4)
    assert len(stored_readings(engine)) == 6


def test_a_dry_run_tells_all_and_leaves_nothing(engine: Engine) -> None:
    tables = ("scans", "layouts", "meters", "points", "controllers", "ledger_dirty", "audit_events")
    dry = import_text(engine, TWO, is_dry_run=True)
    assert (dry.is_stored, dry.new, [one.meter_id for one in dry.meters]) == (False, 4, [None])
    assert count_rows(engine, *tables) == [0] * len(tables)


def test_one_refused_line_keeps_the_whole_file_out_unless_it_is_to_be_skipped(engine: Engine) -> None:
    content = TWO + "Main hall,2026-01-01T01:00:00Z,1o02,229\n"
    refused = import_text(engine, content)
    assert (refused.is_stored, refused.new, refused.rejected) == (False, 5, 1)
    assert "line 4, column 'active_energy_import_total [kWh]': '1o02' is no number" in str(refused.rejected_first[0])
    assert stored_readings(engine) == []
    assert import_text(engine, content, skips_rejected=True).is_stored
    assert len(stored_readings(engine)) == 5


def test_a_reading_that_contradicts_a_stored_one_is_refused_naming_both(engine: Engine, session: Session) -> None:
    add_known_meter(session)
    content = "meter,observed_at,volume\nheater,2026-01-01T00:00:00Z,8\n"
    imported = import_text(engine, content, target=BEHIND)
    assert not imported.is_stored
    assert str(imported.rejected_first[0]) == (
        "line 2, column 'volume': '8.0' contradicts what is stored: 7.0 m3 of meter 'heater', point 'volume' at "
        "2026-01-01T00:00:00Z; delete the line, or correct it"
    )
    assert import_text(engine, content.replace(",8", ",7"), target=BEHIND).known == 1


def test_a_meter_is_found_by_its_id_or_its_label_at_its_site(engine: Engine, session: Session) -> None:
    import_text(engine, TWO)
    later = "meter,observed_at,voltage_l1_n\n{},2026-01-02T00:00:00Z,{}\n"
    assert import_text(engine, later.format("Main hall", 1), target=Target(site="north")).new == 1
    assert import_text(engine, later.format("main-hall", 1), target=Target(site="north")).known == 1
    both = later.format("main-hall", 1) + "Main hall,2026-01-03T00:00:00Z,2\n"
    refused = import_text(engine, both, target=Target(site="north"))
    assert "is the same meter as 'main-hall'" in str(refused.rejected_first[0])
    meter = add_meter(session, add_controller(session, add_site(session, "west"), "west-1"), "main-hall")
    session.execute(text("UPDATE meters SET site_id = 1 WHERE id = :id"), {"id": meter.id})
    session.commit()
    with pytest.raises(Invalid, match="name the controller instead"):
        import_text(engine, later.format("main-hall", 1), target=Target(site="north"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "meter,observed_at,volume\nboiler,2026-01-01T00:00:00Z,1\n",
            "line 2, column 'meter': 'boiler' is no meter there: correct it, or make it with --create-meters",
        ),
        (
            "meter,observed_at,current_l1\nheater,2026-01-01T00:00:00Z,1\nheater,2026-01-01T00:01:00Z,1\n",
            "'current_l1' is no point of meter 'heater' (2 readings): name one of its points (frequency, volume)",
        ),
        (
            "meter,observed_at,volume [kWh]\nheater,2026-01-01T00:00:00Z,1\n",
            "'Wh' is not the unit of volume, which is 'm3'",
        ),
    ],
)
def test_what_the_registry_does_not_know_is_refused_with_the_remedy(
    engine: Engine, session: Session, content: str, said: str
) -> None:
    add_known_meter(session)
    imported = import_text(engine, content, target=BEHIND)
    assert not imported.is_stored
    assert said in str(imported.rejected_first[0])


def test_a_point_whose_name_says_no_quantity_is_not_made(engine: Engine) -> None:
    imported = import_text(engine, "meter,observed_at,stand\na,2026-01-01T00:00:00Z,1\n")
    assert "begin the point's name with its quantity" in str(imported.rejected_first[0])
    assert count_rows(engine, "meters", "points") == [0, 0]


def test_an_unknown_site_or_controller_is_named(engine: Engine) -> None:
    with pytest.raises(NotFound, match="'nowhere'"):
        import_text(engine, TWO, target=Target(site="nowhere", creates=True))
    with pytest.raises(NotFound, match="'ghost'"):
        import_text(engine, TWO, target=Target(controller="ghost"))
    with pytest.raises(Invalid, match="name the site, or the controller"):
        import_text(engine, TWO, target=Target())


def test_rows_with_other_points_keep_their_places(engine: Engine) -> None:
    content = WIDE + "a,2026-01-01T00:00:00Z,1,230\na,2026-01-01T00:30:00Z,,231\na,2026-01-01T01:00:00Z,2,\n"
    assert import_text(engine, content).empty == 2
    assert [(point, value) for _, point, _, value, _ in stored_readings(engine)] == [
        ("active_energy_import_total", 1_000.0),
        ("active_energy_import_total", 2_000.0),
        ("voltage_l1_n", 230.0),
        ("voltage_l1_n", 231.0),
    ]
    assert count_rows(engine, "layouts") == [3]


def test_ragged_files_take_a_layout_per_point(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "_LAYOUTS_MAX", 2)
    content = WIDE + "a,2026-01-01T00:00:00Z,1,230\na,2026-01-01T00:30:00Z,,231\na,2026-01-01T01:00:00Z,2,\n"
    import_text(engine, content)
    assert len(stored_readings(engine)) == 4
    assert count_rows(engine, "layouts", "scans") == [2, 4]


def test_readings_without_value_are_stored_with_their_quality(engine: Engine) -> None:
    content = "meter,observed_at,frequency,quality\na,2026-01-01T00:00:00Z,,timeout\na,2026-01-01T00:01:00Z,50,\n"
    assert import_text(engine, content).new == 2
    assert [(value, quality) for *_, value, quality in stored_readings(engine)] == [(None, Quality.TIMEOUT), (50.0, 0)]
    assert import_text(engine, content).known == 2


def test_a_fault_in_the_middle_leaves_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the power went")

    content = TWO + "Second,2026-01-01T00:00:00Z,5,230\n"
    monkeypatch.setattr(importing, "record", fail)
    with pytest.raises(RuntimeError):
        import_text(engine, content)
    tables = ("scans", "meters", "points", "controllers", "ledger_dirty", "scan_latest")
    assert count_rows(engine, *tables) == [0] * len(tables)
    monkeypatch.undo()
    assert import_text(engine, content).new == 6


def test_a_file_about_a_known_meter_and_a_new_one_is_stored(engine: Engine) -> None:
    import_text(engine, TWO)
    more = TWO.replace("01-01T", "01-02T").replace(",230\n", ",\n") + "Second,2026-01-02T00:00:00Z,5,230\n"
    assert import_text(engine, more).new == 5
    assert [meter.is_new for meter in import_text(engine, more).meters] == [False, False]


def test_what_is_in_closed_days_is_known(engine: Engine) -> None:
    import_text(engine, TWO)
    compact(engine, datetime(2026, 6, 1, tzinfo=UTC))
    assert count_rows(engine, "scans") == [0]
    again = import_text(engine, TWO.replace(",1001,", ",1002,"))
    assert (again.known, again.rejected, again.is_stored) == (3, 1, False)
    assert again.rejected_first[0].reason == "contradicts what is stored"


def test_readings_from_the_future_are_kept_and_set_aside(engine: Engine) -> None:
    imported = import_text(engine, TWO + "Main hall,2199-12-31T00:00:00Z,1002,229\n")
    assert (imported.new, imported.ahead) == (6, 2)
    assert count_rows(engine, "scans", "suspect_spans") == [3, 1]


def test_two_imports_of_one_file_at_once_store_it_once(engine: Engine) -> None:
    import_text(engine, TWO)
    rows = "".join(
        f"Main hall,2026-02-{day:02}T{hour:02}:00:00Z,{day * 24 + hour},230\n"
        for day in range(1, 29)
        for hour in range(24)
    )
    outcomes = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(import_text(engine, WIDE + rows, target=Target(site="north"))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.new for one in outcomes) == [0, 0, 0, 28 * 24 * 2]
    assert len(stored_readings(engine)) == 4 + 28 * 24 * 2


def test_two_imports_that_make_the_same_meters_at_once_make_them_once(engine: Engine) -> None:
    threads = [threading.Thread(target=import_text, args=(engine, TWO), kwargs={"target": NORTH}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count_rows(engine, "controllers", "meters", "points", "scans") == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        ("energy_active_import_total", "active_energy"),
        ("active_energy_import_total", "active_energy"),
        ("energy_reactive_q1", "reactive_energy"),
        ("voltage_l1_n", "voltage"),
        ("power_factor_l1", "power_factor"),
        ("register_kwh", None),
    ],
)
def test_a_points_name_says_what_it_measures_in_either_order(name: str, quantity: str | None) -> None:
    found = quantity_of(name)
    assert (found and found.name) == quantity
