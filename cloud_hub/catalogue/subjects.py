"""How custom profiles are named in requests."""

from cloud_hub.access.subjects import declare

declare(
    "meter_profile",
    "SELECT p.organisation_id, o.lineage, CAST(NULL AS bigint) AS site_id "
    "FROM meter_profiles p JOIN organisations o ON o.id = p.organisation_id WHERE p.id = :key",
    is_catalogue=True,
)
