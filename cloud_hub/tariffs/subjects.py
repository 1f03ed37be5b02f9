"""How tariffs, series of prices and of emission factors are named in requests."""

from cloud_hub.access.subjects import declare

# Of an organisation above, only the catalogue is to be seen, not the organisation itself.
_OF_ORGANISATION = """
    SELECT t.organisation_id, coalesce(o.lineage, ARRAY[t.organisation_id]) AS lineage, CAST(NULL AS bigint) AS site_id
    FROM {table} t LEFT JOIN organisations o ON o.id = t.organisation_id WHERE t.id = :key
"""
_OF_VERSION = """
    SELECT t.organisation_id, coalesce(o.lineage, ARRAY[t.organisation_id]) AS lineage, CAST(NULL AS bigint) AS site_id
    FROM tariff_versions v JOIN tariffs t ON t.id = v.tariff_id LEFT JOIN organisations o ON o.id = t.organisation_id
    WHERE v.id = :key
"""

declare("tariff", _OF_ORGANISATION.format(table="tariffs"), is_catalogue=True)
declare("price_series", _OF_ORGANISATION.format(table="price_series"), is_catalogue=True)
declare("emission_series", _OF_ORGANISATION.format(table="emission_series"), is_catalogue=True)
declare("tariff_version", _OF_VERSION, is_catalogue=True)
declare(
    "tariff_assignment",
    "SELECT s.organisation_id, o.lineage, s.id AS site_id FROM tariff_assignments a JOIN sites s ON s.id = a.site_id "
    "JOIN organisations o ON o.id = s.organisation_id WHERE a.id = :key",
)
