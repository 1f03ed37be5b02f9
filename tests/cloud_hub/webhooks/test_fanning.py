"""Every event becomes one message to every webhook that wants it, and to no other."""

from hub_factories import add_site
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from webhook_factories import add_webhook, tell

from cloud_hub.organisations.models import Organisation
from cloud_hub.webhooks.fanning import fan_out
from cloud_hub.webhooks.models import WebhookSite

URL = "https://example.org/hook"


def queued(session: Session) -> list[tuple[int, str]]:
    session.rollback()
    rows = session.execute(text("SELECT webhook_id, kind FROM webhook_deliveries ORDER BY id"))
    return [(row.webhook_id, row.kind) for row in rows]


def add_organisation(session: Session, slug: str, parent_id: int) -> int:
    organisation = Organisation(slug=slug, name=slug, parent_id=parent_id)
    session.add(organisation)
    session.flush()
    return organisation.id


def test_an_organisation_is_told_of_itself_and_of_those_below(engine: Engine, session: Session) -> None:
    reseller = add_organisation(session, "reseller", 1)
    customer = add_organisation(session, "customer", reseller)
    other = add_organisation(session, "other", reseller)
    hooks = {
        organisation_id: add_webhook(session, URL, organisation_id=organisation_id).id
        for organisation_id in (1, reseller, customer, other)
    }
    tell(session, "meter.made", organisation_id=customer)
    assert fan_out(engine) == 1
    assert {webhook_id for webhook_id, _ in queued(session)} == {hooks[1], hooks[reseller], hooks[customer]}


def test_only_wanted_kinds_and_sites_are_told(engine: Engine, session: Session) -> None:
    north, south = add_site(session), add_site(session, "south")
    meters = add_webhook(session, URL, kinds=("meter.*",)).id
    of_north = add_webhook(session, URL).id
    session.add(WebhookSite(webhook_id=of_north, site_id=north.id))
    tell(session, "meter.made", site_id=south.id)
    tell(session, "command.done", site_id=north.id)
    tell(session, "organisation.renamed")
    assert fan_out(engine) == 3
    assert queued(session) == [(meters, "meter.made"), (of_north, "command.done")]


def test_one_that_is_switched_off_is_not_told(engine: Engine, session: Session) -> None:
    add_webhook(session, URL).is_active = False
    tell(session)
    fan_out(engine)
    assert queued(session) == []


def test_an_event_that_commits_late_is_told_too(engine: Engine, session: Session) -> None:
    webhook_id = add_webhook(session, URL).id
    with Session(engine) as late:
        late.execute(
            text("INSERT INTO events (organisation_id, kind, subject, data) VALUES (1, 'late.made', 'meter:1', '{}')")
        )
        tell(session, "early.made")
        assert fan_out(engine) == 1
        late.commit()
    assert fan_out(engine) == 1
    assert fan_out(engine) == 0
    assert queued(session) == [(webhook_id, "early.made"), (webhook_id, "late.made")]


def test_the_message_is_what_the_standard_says(engine: Engine, session: Session) -> None:
    add_webhook(session, URL)
    tell(session, "meter.made")
    fan_out(engine)
    (body,) = session.execute(
        text(
            "SELECT body::jsonb - 'timestamp' - 'data' || (body::jsonb -> 'data') - 'id' - 'at' FROM webhook_deliveries"
        )
    ).one()
    assert body == {
        "type": "meter.made",
        "kind": "meter.made",
        "organisation_id": 1,
        "site_id": None,
        "subject": "meter:7",
        "data": {"name": "Zähler"},
    }
