"""What `work` does for people: it sends letters, and brings those who are being created to an end."""

from sqlalchemy import Engine

import cloud_hub.subscribers.person_step  # noqa: F401 - a step of creating people is known by being imported
from cloud_hub.mail.sending import forget_old, send_due
from cloud_hub.people.completing import complete_creations
from cloud_hub.settings import HubSettings, PostOffice
from cloud_hub.work.worker import MORE, Duty

_MAIL_S = 5.0
_CREATIONS_S = 15.0
_HOUR_S = 3600.0


def people_duties(settings: HubSettings) -> list[Duty]:
    """Return the duties; without a mail server letters wait in the outbox.

    Raises: SettingsError when the mail server's address makes no sense.
    """
    duties = [Duty("creations", _CREATIONS_S, complete_creations), Duty("old letters", _HOUR_S, forget_old)]
    office = settings.post_office
    if office is not None:
        duties.append(Duty("mail", _MAIL_S, lambda engine: _send(engine, office)))
    return duties


def _send(engine: Engine, office: PostOffice) -> object:
    return MORE if send_due(engine, office) else None
