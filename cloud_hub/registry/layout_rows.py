"""The points and layouts of a manifest as rows: a few statements, however many meters a collector has. Callers commit.

Whoever calls holds the lock on the controller's row, so that nobody adds the same at the same time.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from protocol.manifest import Layout, ManifestPoint

log = structlog.get_logger(__name__)

# Many meters have the same points, so a list of points travels once, as it does in the manifest itself.
_WANTED = """
    WITH wanted AS (
        SELECT l.index, l.meter_id, l.period_s, l.on_demand,
               p.position, p.name, p.quantity, p.unit, p.kind, p.statistic
        FROM unnest(CAST(:indexes AS integer[]), CAST(:meters AS bigint[]), CAST(:sets AS integer[]),
                    CAST(:periods AS float8[]), CAST(:on_demand AS boolean[]))
             AS l (index, meter_id, set_number, period_s, on_demand)
        JOIN unnest(CAST(:set_numbers AS integer[]), CAST(:positions AS integer[]), CAST(:names AS text[]),
                    CAST(:quantities AS text[]), CAST(:units AS text[]), CAST(:kinds AS text[]),
                    CAST(:statistics AS text[]))
             AS p (set_number, position, name, quantity, unit, kind, statistic) USING (set_number)
    ), wanted_points AS (
        SELECT DISTINCT ON (meter_id, name) * FROM wanted ORDER BY meter_id, name, on_demand, index
    )
"""

# Until the first hello that names this manifest; then cadence.py looks at all its layouts.
_ADD_POINTS = text(f"""{_WANTED}
    INSERT INTO points (meter_id, name, quantity, unit, kind, statistic, period_s)
    SELECT w.meter_id, w.name, w.quantity, w.unit, w.kind, w.statistic, CASE WHEN w.on_demand THEN NULL ELSE w.period_s END
    FROM wanted_points w
    WHERE NOT EXISTS (SELECT FROM points p WHERE p.meter_id = w.meter_id AND p.name = w.name)
    ORDER BY w.index, w.position
""")  # noqa: S608 - both parts stand in this file; values are bound, here and below

_CHANGE_POINTS = text(f"""{_WANTED}
    UPDATE points p SET quantity = w.quantity, unit = w.unit, kind = w.kind, statistic = w.statistic
    FROM wanted_points w
    JOIN points before ON before.meter_id = w.meter_id AND before.name = w.name
    JOIN meters m ON m.id = w.meter_id
    WHERE p.id = before.id
      AND (before.quantity, before.unit, before.kind, before.statistic)
          IS DISTINCT FROM (w.quantity, w.unit, w.kind, w.statistic)
    RETURNING m.slug, w.name, before.unit, w.unit,
              (before.quantity, before.unit, before.kind) IS DISTINCT FROM (w.quantity, w.unit, w.kind)
""")  # noqa: S608

_ORDERED = """, ordered AS (
        SELECT w.index, w.meter_id, w.period_s, w.on_demand, array_agg(p.id ORDER BY w.position) AS point_ids
        FROM wanted w JOIN points p ON p.meter_id = w.meter_id AND p.name = w.name
        GROUP BY w.index, w.meter_id, w.period_s, w.on_demand
    )
"""

_ADD_LAYOUTS = text(f"""{_WANTED}{_ORDERED}
    INSERT INTO layouts (meter_id, point_ids)
    SELECT o.meter_id, o.point_ids FROM ordered o
    WHERE NOT EXISTS (SELECT FROM layouts l WHERE l.meter_id = o.meter_id AND l.point_ids = o.point_ids)
    GROUP BY o.meter_id, o.point_ids
    ORDER BY min(o.index)
""")  # noqa: S608

_ADD_MANIFEST_LAYOUTS = text(f"""{_WANTED}{_ORDERED}
    INSERT INTO manifest_layouts (controller_id, manifest_hash, index, layout_id, period_s, on_demand)
    SELECT :controller, :hash, o.index, l.id, o.period_s, o.on_demand
    FROM ordered o JOIN layouts l ON l.meter_id = o.meter_id AND l.point_ids = o.point_ids
""")  # noqa: S608


def register_layouts(
    session: Session, controller_id: str, digest: bytes, layouts: Sequence[Layout], meter_ids: Mapping[str, int]
) -> None:
    """Add what is new of a manifest's points and layouts, and note which layout each of its indexes is.

    `meter_ids` has every meter of the layouts. Where a point is described anew, the newest manifest wins.
    """
    names = _parameters(layouts, meter_ids)
    session.execute(_ADD_POINTS, names)
    for slug, point, before, now, is_redefined in session.execute(_CHANGE_POINTS, names):
        if is_redefined:  # it should never happen: older values keep their unit
            log.warning("point_redefined", meter=slug, point=point, before=before, now=now)
    session.execute(_ADD_LAYOUTS, names)
    session.execute(_ADD_MANIFEST_LAYOUTS, names | {"controller": controller_id, "hash": digest})


def _parameters(layouts: Sequence[Layout], meter_ids: Mapping[str, int]) -> dict[str, Any]:
    sets: dict[tuple[ManifestPoint, ...], int] = {}
    set_of_layout = [sets.setdefault(layout.points, len(sets)) for layout in layouts]
    cells = [(number, place, point) for points, number in sets.items() for place, point in enumerate(points)]
    return {
        "indexes": list(range(len(layouts))),
        "meters": [meter_ids[layout.meter] for layout in layouts],
        "sets": set_of_layout,
        "periods": [layout.period_s for layout in layouts],
        "on_demand": [layout.on_demand for layout in layouts],
        "set_numbers": [number for number, _, _ in cells],
        "positions": [place for _, place, _ in cells],
        "names": [point.name for _, _, point in cells],
        "quantities": [point.quantity for _, _, point in cells],
        "units": [point.unit for _, _, point in cells],
        "kinds": [point.kind.value for _, _, point in cells],
        "statistics": [None if point.statistic is None else point.statistic.value for _, _, point in cells],
    }
