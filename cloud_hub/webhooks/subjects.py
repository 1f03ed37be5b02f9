"""How webhooks and their messages are named in requests: by their ids."""

from cloud_hub.access.subjects import declare

_OF_WEBHOOKS = """
    SELECT w.organisation_id, o.lineage, CAST(NULL AS bigint) AS site_id
    FROM webhooks w JOIN organisations o ON o.id = w.organisation_id
"""

declare("webhook", f"{_OF_WEBHOOKS} WHERE w.id = :key")
declare("webhook_delivery", f"{_OF_WEBHOOKS} JOIN webhook_deliveries d ON d.webhook_id = w.id WHERE d.id = :key")
