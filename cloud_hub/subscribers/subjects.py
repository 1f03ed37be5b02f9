"""How broker logins are named in requests: by their ids."""

from cloud_hub.access.subjects import declare

declare(
    "subscriber",
    "SELECT l.organisation_id, o.lineage, CAST(NULL AS bigint) AS site_id FROM subscriber_logins l "
    "JOIN organisations o ON o.id = l.organisation_id WHERE l.id = :key",
)
