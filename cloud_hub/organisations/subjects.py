"""How organisations are named in requests: by their slug."""

from cloud_hub.access.subjects import declare

declare(
    "organisation",
    "SELECT id AS organisation_id, lineage, CAST(NULL AS bigint) AS site_id FROM organisations WHERE slug = :key",
)
