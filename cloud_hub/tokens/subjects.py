"""How service accounts and their tokens are named in requests: by their ids."""

from cloud_hub.access.subjects import declare

_OF_SERVICES = """
    SELECT u.organisation_id, o.lineage, CAST(NULL AS bigint) AS site_id
    FROM users u JOIN organisations o ON o.id = u.organisation_id
    JOIN memberships m ON m.user_id = u.id AND m.organisation_id = u.organisation_id
"""

# A service without a membership has been deleted.
declare("service", f"{_OF_SERVICES} WHERE u.id = :key AND u.kind = 'service'")
declare(
    "service_token",
    f"{_OF_SERVICES} JOIN tokens t ON t.user_id = u.id WHERE t.id = :key AND u.kind = 'service'",
)
