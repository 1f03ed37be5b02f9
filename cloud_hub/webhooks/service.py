"""Webhooks of organisations: make, change, remove. Callers commit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from cloud_hub.access.subjects import find_subjects
from cloud_hub.audit.service import record
from cloud_hub.errors import Conflict, Invalid, NotFound
from cloud_hub.web.pagination import Page, Window, cut
from cloud_hub.webhooks.addresses import Gate
from cloud_hub.webhooks.models import Webhook, WebhookSecret, WebhookSite
from cloud_hub.webhooks.schemas import WebhookChange, WebhookIn, WebhookOut
from cloud_hub.webhooks.signing import make_secret

PER_ORGANISATION_MAX = 50


class UnknownWebhook(NotFound):
    """There is no such webhook."""


class TooManyWebhooks(Conflict):
    """The organisation has as many as it may have."""


class ForeignSite(Invalid):
    """The site is not one whose events the organisation sees."""


@dataclass(frozen=True, slots=True)
class Made:
    """A webhook with what is said of it once."""

    shown: WebhookOut
    secret: str


def list_webhooks(session: Session, organisation_id: int, window: Window) -> Page[WebhookOut]:
    """List an organisation's own webhooks by id."""
    query = (
        select(Webhook)
        .where(Webhook.organisation_id == organisation_id, Webhook.id > window.after_id)
        .order_by(Webhook.id)
        .limit(window.limit + 1)
    )
    page = cut(session.scalars(query).all(), window, lambda webhook: webhook.id)
    return Page(_show(session, page.items), page.next_key)


def get_webhook(session: Session, webhook_id: int, *, for_change: bool = False) -> Webhook:
    """Return one; locked when it is about to change.

    Raises: UnknownWebhook.
    """
    query = select(Webhook).where(Webhook.id == webhook_id)
    webhook = session.scalars(query.with_for_update() if for_change else query).one_or_none()
    if webhook is None:
        raise UnknownWebhook(f"there is no webhook {webhook_id}")
    return webhook


def show(session: Session, webhook: Webhook) -> WebhookOut:
    """Return what people see of it."""
    return _show(session, [webhook])[0]


def create_webhook(session: Session, organisation_id: int, wanted: WebhookIn, gate: Gate, *, who: str) -> Made:
    """Add a webhook with a fresh secret.

    Raises: RefusedAddress, ForeignSite, TooManyWebhooks.
    """
    gate.check_reachable(wanted.url)
    count = session.scalar(select(func.count()).select_from(Webhook).where(Webhook.organisation_id == organisation_id))
    if (count or 0) >= PER_ORGANISATION_MAX:
        raise TooManyWebhooks(f"this organisation has {PER_ORGANISATION_MAX} webhooks already: remove one first")
    webhook = Webhook(
        organisation_id=organisation_id,
        name=wanted.name,
        url=wanted.url,
        kinds=wanted.kinds,
        is_active=wanted.is_active,
    )
    session.add(webhook)
    session.flush()
    _set_sites(session, webhook, wanted.sites)
    secret = _add_secret(session, webhook.id, timedelta())
    shown = show(session, webhook)
    _record(session, webhook, who, "webhook_created", after=_document(shown))
    return Made(shown, secret)


def change_webhook(session: Session, webhook: Webhook, change: WebhookChange, gate: Gate, *, who: str) -> WebhookOut:
    """Change a locked webhook; one that was failing begins anew.

    Raises: RefusedAddress, ForeignSite.
    """
    before = show(session, webhook)
    given = {name: value for name, value in change if value is not None}
    if "url" in given:
        gate.check_reachable(given["url"])
    sites = given.pop("sites", None)
    for name, value in given.items():
        setattr(webhook, name, value)
    if sites is not None:
        session.execute(delete(WebhookSite).where(WebhookSite.webhook_id == webhook.id))
        _set_sites(session, webhook, sites)
    if "url" in given or given.get("is_active"):
        webhook.disabled_reason = webhook.disabled_at = webhook.failing_since = None
        webhook.failures, webhook.is_slow = 0, False
        webhook.rest_until = datetime.now(UTC)
    session.flush()
    after = show(session, webhook)
    _record(session, webhook, who, "webhook_changed", before=_document(before), after=_document(after))
    return after


def remove_webhook(session: Session, webhook: Webhook, *, who: str) -> None:
    """Remove a webhook with its log; what waits for it is not sent."""
    _record(session, webhook, who, "webhook_removed", before=_document(show(session, webhook)))
    session.delete(webhook)
    session.flush()


def rotate_secret(session: Session, webhook: Webhook, overlap: timedelta, *, who: str) -> tuple[str, datetime]:
    """Let a fresh secret sign; the one before signs too until the instant that is answered."""
    until = datetime.now(UTC) + overlap
    secret = _add_secret(session, webhook.id, overlap)
    _record(session, webhook, who, "webhook_secret_rotated", overlap_until=until.isoformat())
    return secret, until


def _add_secret(session: Session, webhook_id: int, overlap: timedelta) -> str:
    secret = make_secret()
    # No RETURNING: the web may add secrets and read none.
    session.execute(
        insert(WebhookSecret)
        .values(webhook_id=webhook_id, secret=secret, overlap_until=datetime.now(UTC) + overlap)
        .inline()
    )
    return secret


def _set_sites(session: Session, webhook: Webhook, names: Sequence[str]) -> None:
    ids = set()
    for name in names:
        # The guard has seen to it that there is one, and that this person sees it.
        (site,) = find_subjects(session, "site", name)
        if webhook.organisation_id not in site.lineage or site.site_id is None:
            raise ForeignSite(f"the site {name!r} belongs to another organisation: name sites of this one or below it")
        ids.add(site.site_id)
    session.add_all(WebhookSite(webhook_id=webhook.id, site_id=site_id) for site_id in sorted(ids))
    session.flush()


def _show(session: Session, webhooks: Sequence[Webhook]) -> list[WebhookOut]:
    sites: dict[int, list[int]] = {webhook.id: [] for webhook in webhooks}
    query = select(WebhookSite).where(WebhookSite.webhook_id.in_(sites)).order_by(WebhookSite.site_id)
    for one in session.scalars(query):
        sites[one.webhook_id].append(one.site_id)
    return [
        WebhookOut(
            id=webhook.id,
            organisation_id=webhook.organisation_id,
            name=webhook.name,
            url=webhook.url,
            kinds=webhook.kinds,
            site_ids=sites[webhook.id],
            is_active=webhook.is_active,
            disabled_reason=webhook.disabled_reason,
            disabled_at=webhook.disabled_at,
            created_at=webhook.created_at,
        )
        for webhook in webhooks
    ]


def _document(shown: WebhookOut) -> dict[str, Any]:
    return shown.model_dump(mode="json", exclude={"id", "organisation_id", "created_at"})


def _record(session: Session, webhook: Webhook, who: str, action: str, **detail: Any) -> None:  # noqa: ANN401 - what JSON can hold
    record(session, webhook.organisation_id, who=who, action=action, subject=f"webhook:{webhook.id}", detail=detail)
