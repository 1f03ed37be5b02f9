"""How sites, controllers, buses, meters, points and groups are named in requests."""

from cloud_hub.access.subjects import declare

_SITE = """
    SELECT s.organisation_id, o.lineage, s.id AS site_id
    FROM sites s JOIN organisations o ON o.id = s.organisation_id
    WHERE s.slug = :slug AND (CAST(:organisation AS text) IS NULL OR o.slug = :organisation)
"""
_OF_METERS = """
    SELECT m.organisation_id, o.lineage, m.site_id
    FROM meters m JOIN organisations o ON o.id = m.organisation_id
"""


def split_site(ref: object) -> dict[str, object]:
    """Take a site's name in a request apart: its slug, or `organisation:slug` where several have that slug."""
    organisation, colon, slug = str(ref).rpartition(":")
    return {"slug": slug, "organisation": organisation if colon else None}


declare("site", _SITE, split=split_site)
declare(
    "controller",
    "SELECT c.organisation_id, o.lineage, c.site_id FROM controllers c "
    "JOIN organisations o ON o.id = c.organisation_id WHERE c.id = :key",
)
declare(
    "bus",
    "SELECT c.organisation_id, o.lineage, c.site_id FROM buses b JOIN controllers c ON c.id = b.controller_id "
    "JOIN organisations o ON o.id = c.organisation_id WHERE b.id = :key",
)
declare("meter", f"{_OF_METERS} WHERE m.id = :key")
declare("point", f"{_OF_METERS} JOIN points p ON p.meter_id = m.id WHERE p.id = :key")
declare(
    "group",
    "SELECT g.organisation_id, o.lineage, CAST(NULL AS bigint) AS site_id FROM meter_groups g "
    "JOIN organisations o ON o.id = g.organisation_id WHERE g.id = :key",
)
