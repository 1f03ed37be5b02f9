"""Every slice that answers requests: what it names, and its routes."""

import cloud_hub.catalogue.subjects
import cloud_hub.configuration.subjects
import cloud_hub.ledger.registry_changes
import cloud_hub.ledger.subjects
import cloud_hub.organisations.subjects
import cloud_hub.people.subjects
import cloud_hub.registry.subjects
import cloud_hub.subscribers.person_step
import cloud_hub.subscribers.subjects
import cloud_hub.tariffs.subjects
import cloud_hub.tokens.subjects
import cloud_hub.webhooks.subjects  # noqa: F401 - kinds of things, hooks and steps are declared by being imported
from cloud_hub.access.routes import Routes
from cloud_hub.analysis.api import api as analysis_api
from cloud_hub.catalogue.api import api as catalogue_api
from cloud_hub.configuration.api import api as configuration_api
from cloud_hub.configuration.commands_api import api as commands_api
from cloud_hub.dashboard.pages import pages as dashboard_pages
from cloud_hub.ledger.api import api as ledger_api
from cloud_hub.ledger.changes_api import api as ledger_changes_api
from cloud_hub.ledger.meter_exchange_api import api as meter_exchange_api
from cloud_hub.ledger.organisation_api import api as organisation_settings_api
from cloud_hub.openapi.api import api as openapi_api
from cloud_hub.organisations.api import api as organisations_api
from cloud_hub.organisations.pages import pages as organisations_pages
from cloud_hub.people.accept_pages import pages as accept_pages
from cloud_hub.people.invitations_api import api as invitations_api
from cloud_hub.people.members_api import api as members_api
from cloud_hub.people.pages import pages as people_pages
from cloud_hub.people.roles_api import api as roles_api
from cloud_hub.readings.api import api as readings_api
from cloud_hub.readings.delivery_api import api as delivery_api
from cloud_hub.registry.api import api as registry_api
from cloud_hub.registry.controllers_api import api as controllers_api
from cloud_hub.registry.groups_api import api as groups_api
from cloud_hub.registry.sites_api import api as sites_api
from cloud_hub.stream.api import api as stream_api
from cloud_hub.subscribers.api import api as subscribers_api
from cloud_hub.tariffs.api import api as tariffs_api
from cloud_hub.tariffs.registration_api import api as registration_api
from cloud_hub.tariffs.series_api import api as series_api
from cloud_hub.tokens.api import api as tokens_api
from cloud_hub.tokens.auth_api import api as auth_api
from cloud_hub.tokens.auth_api import well_known
from cloud_hub.tokens.pages import pages as tokens_pages
from cloud_hub.trail.api import api as trail_api
from cloud_hub.transfer.api import api as transfer_api
from cloud_hub.webhooks.api import api as webhooks_api

ROUTES: tuple[Routes, ...] = (
    organisations_api,
    organisations_pages,
    organisation_settings_api,
    roles_api,
    members_api,
    invitations_api,
    people_pages,
    accept_pages,
    auth_api,
    well_known,
    tokens_api,
    tokens_pages,
    sites_api,
    controllers_api,
    registry_api,
    groups_api,
    catalogue_api,
    configuration_api,
    commands_api,
    readings_api,
    delivery_api,
    ledger_api,
    ledger_changes_api,
    meter_exchange_api,
    tariffs_api,
    registration_api,
    series_api,
    analysis_api,
    transfer_api,
    openapi_api,
    trail_api,
    subscribers_api,
    webhooks_api,
    stream_api,
    dashboard_pages,
)
"""Their order is that of nothing: no two answer the same address."""
