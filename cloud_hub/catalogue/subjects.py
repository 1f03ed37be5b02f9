"""How custom profiles are named in requests."""

from cloud_hub.access.subjects import declare

# Of an organisation above, only the catalogue is to be seen, not the organisation itself.
declare(
    "meter_profile",
    "SELECT p.organisation_id, coalesce(o.lineage, ARRAY[p.organisation_id]) AS lineage, "
    "CAST(NULL AS bigint) AS site_id "
    "FROM meter_profiles p LEFT JOIN organisations o ON o.id = p.organisation_id WHERE p.id = :key",
    is_catalogue=True,
)
