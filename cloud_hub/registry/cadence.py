"""How often each point of a controller is expected, by the manifest that the controller works with."""

from sqlalchemy import Connection, text

# A point that stands in several layouts is as fresh as the quickest of them. What is only read on demand,
# or not in this manifest at all, is not expected.
_EXPECT = text("""
    WITH expected AS (
        SELECT u.point_id, min(ml.period_s) AS period_s
        FROM manifest_layouts ml
        JOIN layouts l ON l.id = ml.layout_id
        CROSS JOIN LATERAL unnest(l.point_ids) AS u (point_id)
        WHERE ml.controller_id = :controller AND ml.manifest_hash = :hash AND NOT ml.on_demand
        GROUP BY u.point_id
    )
    UPDATE points p SET period_s = e.period_s
    FROM points q
    JOIN meters m ON m.id = q.meter_id
    LEFT JOIN expected e ON e.point_id = q.id
    WHERE p.id = q.id AND m.controller_id = :controller AND p.period_s IS DISTINCT FROM e.period_s
""")

_METERS = text("""
    UPDATE meters m SET period_s = quickest.period_s
    FROM (SELECT meter_id, min(period_s) AS period_s FROM points WHERE period_s IS NOT NULL GROUP BY meter_id) AS quickest
    WHERE quickest.meter_id = m.id AND m.controller_id = :controller AND m.period_s <> quickest.period_s
""")

_ADOPT = text("""
    UPDATE controllers c SET manifest_hash = :hash
    WHERE c.id = :controller AND c.manifest_hash IS DISTINCT FROM :hash
      AND EXISTS (SELECT FROM manifests m WHERE m.controller_id = c.id AND m.hash = :hash)
    RETURNING c.id
""")


def adopt_manifest(connection: Connection, controller_id: str, digest: bytes) -> None:
    """Expect of a controller's points what this manifest says; does nothing when it is unknown, or expected already."""
    names = {"controller": controller_id, "hash": digest}
    if connection.execute(_ADOPT, names).one_or_none() is None:
        return
    connection.execute(_EXPECT, names)
    connection.execute(_METERS, {"controller": controller_id})
