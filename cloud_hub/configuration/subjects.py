"""How configurations and commands are named in requests: they belong to their controller's site."""

from cloud_hub.access.subjects import declare

_OF_CONTROLLER = """
    SELECT c.organisation_id, o.lineage, c.site_id FROM {table} t
    JOIN controllers c ON c.id = t.controller_id JOIN organisations o ON o.id = c.organisation_id WHERE t.id = :key
"""

declare("configuration", _OF_CONTROLLER.format(table="configurations"))
declare("command", _OF_CONTROLLER.format(table="commands"))
