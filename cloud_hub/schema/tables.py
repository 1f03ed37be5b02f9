"""Every table of the hub, registered by being imported."""

import cloud_hub.access.models
import cloud_hub.audit.models
import cloud_hub.catalogue.models
import cloud_hub.configuration.models
import cloud_hub.events.models
import cloud_hub.idempotency.models
import cloud_hub.ingest.models
import cloud_hub.ledger.models
import cloud_hub.mail.models
import cloud_hub.organisations.models
import cloud_hub.people.models
import cloud_hub.readings.models
import cloud_hub.registry.history_models
import cloud_hub.registry.models
import cloud_hub.subscribers.models
import cloud_hub.tariffs.models
import cloud_hub.tokens.models
import cloud_hub.users.login_models
import cloud_hub.users.models
import cloud_hub.web.rate_limits
import cloud_hub.webhooks.models  # noqa: F401
from cloud_hub.db import Base
from cloud_hub.tenancy.rows import Tenancy


def tenancies() -> dict[str, Tenancy]:
    """Return what every table says of whose its rows are, by the table's name."""
    found = {mapper.local_table.description: mapper.class_.tenancy for mapper in Base.registry.mappers}
    found.update({name: table.info["tenancy"] for name, table in Base.metadata.tables.items() if name not in found})
    return dict(sorted(found.items()))
