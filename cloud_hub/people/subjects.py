"""How roles, members, invitations and creations are named in requests."""

from cloud_hub.access.subjects import declare

_OF_ORGANISATION = """
    SELECT t.organisation_id, o.lineage, CAST(NULL AS bigint) AS site_id
    FROM {table} t JOIN organisations o ON o.id = t.organisation_id WHERE t.id = :key
"""
# Of an organisation above, only its roles are to be seen, not the organisation itself.
_ROLE = """
    SELECT r.organisation_id, coalesce(o.lineage, ARRAY[r.organisation_id]) AS lineage, CAST(NULL AS bigint) AS site_id
    FROM roles r LEFT JOIN organisations o ON o.id = r.organisation_id WHERE r.id = :key
"""

declare("role", _ROLE, is_catalogue=True)
declare("member", _OF_ORGANISATION.format(table="memberships"))
declare("invitation", _OF_ORGANISATION.format(table="invitations"))
declare("person", _OF_ORGANISATION.format(table="people_creations"))
