"""How exchanges, edits and suspect spans are named in requests: whose meter's they are."""

from cloud_hub.access.subjects import declare

_OF_POINTS = """
    SELECT m.organisation_id, o.lineage, m.site_id
    FROM {table} t JOIN points p ON p.id = t.point_id JOIN meters m ON m.id = p.meter_id
    JOIN organisations o ON o.id = m.organisation_id WHERE t.id = :key
"""

declare("exchange", _OF_POINTS.format(table="meter_exchanges"))
declare("edit", _OF_POINTS.format(table="ledger_edits"))
declare(
    "suspect_span",
    "SELECT m.organisation_id, o.lineage, m.site_id FROM suspect_spans t JOIN meters m ON m.id = t.meter_id "
    "JOIN organisations o ON o.id = m.organisation_id WHERE t.id = :key",
)
