"""How an organisation wants its energy counted, checked and kept, as JSON."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.energy.rules import Override
from cloud_hub.errors import Invalid
from cloud_hub.ledger import organisations
from cloud_hub.ledger.organisation_schemas import SettingsEdit, SettingsOut, ValidationRule
from cloud_hub.organisations.models import Organisation
from cloud_hub.organisations.tree import get_organisation
from cloud_hub.web.database import request_session
from cloud_hub.web.etags import require_match

api = routes.api("organisation_settings_api", tag="Organisations")


@api.get(
    "/organisations/<organisation>/settings",
    permission=Permission.ORGANISATIONS_READ,
    answer=SettingsOut,
    is_versioned=True,
)
def get_settings(organisation: str) -> SettingsOut:
    """Return how an organisation wants its energy counted, checked and kept."""
    session = request_session()
    return _show(session, get_organisation(session, organisation))


@api.patch(
    "/organisations/<organisation>/settings",
    permission=Permission.ORGANISATIONS_WRITE,
    body=SettingsEdit,
    answer=SettingsOut,
    is_versioned=True,
)
def change_settings(organisation: str, body: SettingsEdit) -> SettingsOut:
    """Change how an organisation wants its energy counted, checked and kept."""
    session, who = request_session(), current_actor().label
    found = organisations.get_organisation(session, organisation)
    require_match(_show(session, found))
    if body.validation is not None:
        _put_rules(session, found, body.validation, who)
    if body.interval_s is not None:
        organisations.change_interval(session, found, body.interval_s, who=who)
    given = {name: getattr(body, name) for name in organisations.KEPT_DAYS if name in body.model_fields_set}
    kept = {name: days for name, days in given.items() if days != getattr(found, name)}
    organisations.change_retention(session, found, kept, who=who)
    session.commit()
    return _show(session, found)


def _put_rules(session: Session, organisation: Organisation, wanted: Sequence[ValidationRule], who: str) -> None:
    by_key = {(rule.meter_kind, rule.rule): rule.parameters for rule in wanted}
    if len(by_key) < len(wanted):
        raise Invalid("validation names the same rule twice for one kind of meter: leave one of them out")
    known = {(row.meter_kind, row.rule): row.parameters for row in organisations.list_settings(session, organisation)}
    for meter_kind, rule in known.keys() - by_key.keys():
        organisations.drop_setting(session, organisation, meter_kind, rule, who=who)
    for (meter_kind, rule), parameters in by_key.items():
        if known.get((meter_kind, rule)) != parameters:
            organisations.put_setting(session, organisation, Override(meter_kind, rule, parameters), who=who)


def _show(session: Session, organisation: Organisation) -> SettingsOut:
    return SettingsOut(
        interval_s=organisation.interval_s,
        readings_kept_days=organisation.readings_kept_days,
        ledger_kept_days=organisation.ledger_kept_days,
        audit_kept_days=organisation.audit_kept_days,
        validation=[
            ValidationRule(rule=row.rule, meter_kind=row.meter_kind, parameters=row.parameters)
            for row in organisations.list_settings(session, organisation)
        ],
    )
