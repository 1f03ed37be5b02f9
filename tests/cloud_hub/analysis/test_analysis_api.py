from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from flask.testing import FlaskClient
from ledger_rows import KNOWN_AT, MISSING, WH, add_day, add_days, add_metered, add_organisation, add_plain_site
from sqlalchemy.orm import Session
from tariff_rows import END, START, add_factors, assign, flat

from cloud_hub.calendar.hours import parse_operating_hours
from cloud_hub.registry.models import MeterGroup, MeterGroupMember
from cloud_hub.tariffs.site_hours import put_hours

DAY = date(2026, 6, 1)
KWH = 1000 * WH
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("energy", {"from": "yesterday"}, "from: is no day: send a day of the site's calendar such as 2026-01-31"),
    ("energy", {"to": "2026-06-01"}, "to is not after from"),
    ("energy", {"to": "2990-06-01"}, "to: is a day that no ledger reaches"),
    (
        "energy",
        {"step": "fortnight"},
        "step: input should be 'interval', 'day', 'week', 'month' or 'year' (here: 'fortnight')",
    ),
    ("energy", {"step": "interval", "to": "2029-06-02"}, "step is interval: ask for at most 833 days at once"),
    ("energy", {"quantity": "volume"}, "counts no volume: ask for one of active_energy"),
    ("energy", {"as_known_at": "2026-06-01T00:00"}, "with its offset from UTC"),
    ("profile", {"flow": "sideways"}, "flow: input should be 'import', 'export'"),
    ("heatmap", {"to": "2029-01-01"}, "the range has more than 800 days"),
    ("comparison", {"reference": "mine"}, "reference: input should be 'previous', 'previous_aligned'"),
    ("comparison", {"threshold": "101"}, "threshold: input should be less than or equal to 100 (here: '101')"),
    ("comparison", {"periods": "0"}, "periods: input should be greater than or equal to 1"),
    ("cost", {"trace": "2"}, "trace: input should be a valid boolean"),
    ("emissions", {"series": ["x"]}, "series: 0: input should be a valid integer"),
    ("emissions", {"series": ["1"] * 21}, "series: list should have at most 20 items"),
]
RANGE = {"from": "2026-06-01", "to": "2026-06-02"}


def ask(client: FlaskClient, path: str, **query: object) -> Any:
    answer = client.get(f"/api/v1/{path}", query_string={**RANGE, **query})
    assert answer.status_code == 200, answer.text
    return answer.json


def refusal(client: FlaskClient, path: str, status: int = 422, **query: object) -> str:
    answer = client.get(f"/api/v1/{path}", query_string={**RANGE, **query})
    assert answer.status_code == status
    assert answer.json is not None
    return str(answer.json["detail"])


def plain_day(session: Session, amount: int = KWH) -> int:
    site, controller = add_plain_site(session)
    meter, point = add_metered(session, controller, "main")
    add_day(session, point, site, DAY, amount)
    session.commit()
    return meter.id


def test_energy_is_exact_and_carries_what_is_known_of_it(client: FlaskClient, session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, DAY, [MISSING, 1, *[KWH] * 46])
    session.commit()
    answer = ask(client, "sites/north/energy")
    assert answer["scope"] == {
        "kind": "site",
        "key": "north",
        "name": "North",
        "quantity": "active_energy",
        "unit": "kWh",
        "power_unit": "kW",
        "measures": [{"quantity": "active_energy", "unit": "kWh"}],
        "sites": ["north"],
    }
    assert (answer["from"], answer["to"], answer["step"]) == ("2026-06-01", "2026-06-02", "day")
    assert answer["totals"]["import"] == {
        "amount": "46.000000001",
        "quality": "partial",
        "completeness": 0.979,
        "measured": "46.000000001",
        "estimated": "0",
        "edited": "0",
        "partial": "0",
        "meters": 1,
        "expected_s": 86_400,
        "missing_s": 1_800,
    }
    assert answer["bucket_start"] == ["2026-05-31T22:00:00Z"]
    assert (answer["residuals"], answer["residual"]) == ([], None)


def test_a_series_by_intervals_has_nulls_where_nothing_is_known(client: FlaskClient, session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, date(2026, 3, 29), [MISSING, *[KWH] * 45])
    session.commit()
    answer = ask(client, "sites/north/energy", step="interval", **{"from": "2026-03-29", "to": "2026-03-30"})
    columns = answer["flows"]["import"]
    assert columns["amount"] == [None, *["1"] * 45]
    assert columns["quality"] == ["missing", *["measured"] * 45]
    assert {len(column) for column in columns.values()} == {46}
    assert answer["bucket_end"][-1] == "2026-03-29T22:00:00Z"


def test_the_same_is_answered_for_meters_groups_and_organisations(client: FlaskClient, session: Session) -> None:
    organisation = add_organisation(session, "south")
    site, controller = add_plain_site(session, organisation=organisation)
    meter, point = add_metered(session, controller, "main")
    add_day(session, point, site, DAY, KWH)
    group = MeterGroup(organisation_id=organisation.id, slug="all", name="All")
    session.add(group)
    session.flush()
    session.add(MeterGroupMember(group_id=group.id, meter_id=meter.id))
    session.commit()
    for place in (f"meters/{meter.id}", f"groups/{group.id}", "organisations/south", "sites/north"):
        assert ask(client, f"{place}/energy")["totals"]["import"]["amount"] == "48"
        assert ask(client, f"{place}/heatmap")["power"] == [["2"] * 48]
        assert ask(client, f"{place}/profile")["peak"]["power"] == "2"
        assert ask(client, f"{place}/comparison")["period"]["figure"]["amount"] == "48"
        assert ask(client, f"{place}/cost")["totals"] == []
        assert ask(client, f"{place}/emissions")["by_series"] == []


def test_a_profile_says_when_and_how_much(client: FlaskClient, session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, DAY, [KWH] * 47 + [3 * KWH])
    assign(session, site, flat("0.1"))
    put_hours(session, site, parse_operating_hours({"weekly": {"monday": ["08:00-18:10"]}}), who="test")
    session.commit()
    answer = ask(client, "sites/north/profile")
    assert answer["peak"] == {
        "power": "6",
        "start": "2026-06-01T21:30:00Z",
        "end": "2026-06-01T22:00:00Z",
        "local_start": "2026-06-01T23:30:00+02:00",
        "is_measured": True,
    }
    assert answer["inside"]["figure"]["amount"] == "20.333333333"
    assert answer["outside"]["figure"]["amount"] == "29.666666667"
    assert answer["inside"]["cost"] == [{"currency": "EUR", "amount": "2.033333"}]
    assert answer["inside"]["duration_s"] == 36_600
    assert answer["base_load"] == {"power": "2", "intervals": 4}
    assert answer["load_factor"] == "0.3472"
    assert answer["shapes"][0]["clock"][:2] == ["00:00", "00:30"]


def test_a_heat_map_names_its_columns_by_the_wall_clock(client: FlaskClient, session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, date(2026, 10, 25), KWH)
    session.commit()
    answer = ask(client, "sites/north/heatmap", **{"from": "2026-10-25", "to": "2026-10-26"})
    assert answer["columns"][4:7] == [
        {"clock": "02:00", "is_repeated": False},
        {"clock": "02:30", "is_repeated": False},
        {"clock": "02:00", "is_repeated": True},
    ]
    assert answer["quality"] == [["measured"] * 50]


def test_a_comparison_is_a_percentage_or_a_reason(client: FlaskClient, session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, DAY - timedelta(days=7), 2 * KWH)
    add_days(session, point, site, DAY - timedelta(days=1), 1, slot=MISSING)
    add_day(session, point, site, DAY, 3 * KWH)
    session.commit()
    weekly = ask(client, "sites/north/comparison", reference="same_weekdays", periods=1)
    assert (weekly["reference_amount"], weekly["change"], weekly["change_percent"]) == ("96", "48", "50.0")
    previous = ask(client, "sites/north/comparison")
    assert previous["change"] is None
    assert previous["references"][0]["reason"] == "it is complete to 0 % only, 90 % are asked for"


def test_a_traced_bill_names_the_intervals_of_every_line(client: FlaskClient, session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, DAY, KWH)
    assign(session, site, flat("0.123456"))
    session.commit()
    answer = ask(client, "sites/north/cost")
    assert answer["sites"][0]["lines"][0]["interval_start"] is None
    (line,) = ask(client, "sites/north/cost", trace=1)["sites"][0]["lines"]
    assert (line["exact"], line["amount"], line["quantity"], line["rate"]) == ("5.925888", "5.93", "48", "0.123456")
    assert line["interval_start"][0] == int(datetime(2026, 5, 31, 22, tzinfo=UTC).timestamp() * 1000)
    assert len(line["interval_start"]) == line["intervals"] == 48
    assert answer["totals"] == [{"currency": "EUR", "amount": "5.930000"}]


def test_emissions_carry_what_their_factors_are(client: FlaskClient, session: Session) -> None:
    plain_day(session)
    series = add_factors(session, "grid", (START, END, "0.5"))
    session.commit()
    (emitted,) = ask(client, "sites/north/emissions", series=series.id)["by_series"]
    assert (emitted["basis"], emitted["region"], emitted["year"]) == ("location", "DE", 2026)
    assert (emitted["emitted_g"], emitted["avoided_g"], emitted["without_factor_s"]) == ("24", "0", 0)


def test_an_older_knowledge_can_be_asked_for(client: FlaskClient, session: Session) -> None:
    plain_day(session)
    before = (KNOWN_AT - timedelta(seconds=1)).isoformat()
    assert ask(client, "sites/north/energy", as_known_at=before)["totals"]["import"]["amount"] is None
    assert ask(client, "sites/north/energy", as_known_at=KNOWN_AT.isoformat())["totals"]["import"]["amount"] == "48"


def test_large_amounts_stay_exact(client: FlaskClient, session: Session) -> None:
    plain_day(session, amount=10**16 + 1)
    amount = Decimal(ask(client, "sites/north/energy")["totals"]["import"]["amount"])
    assert amount == 48 * (Decimal(10**16) + 1) / 10**9


def test_what_cannot_be_answered_is_refused_with_a_way_out(client: FlaskClient, session: Session) -> None:
    plain_day(session)
    for path, query, reason in REFUSED:
        assert reason in refusal(client, f"sites/north/{path}", **query)


def test_what_is_not_there_is_not_found(client: FlaskClient) -> None:
    for place in ("sites/none", "organisations/none", "meters/7", "groups/7"):
        assert "there is no" in refusal(client, f"{place}/energy", status=404)


def test_only_who_has_logged_in_is_answered(stranger: FlaskClient) -> None:
    assert stranger.get("/api/v1/sites/north/energy", query_string=RANGE).status_code == 401
