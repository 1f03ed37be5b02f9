"""Closed days of readings as one row per point, beside the open days' row per scan."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# The time column of a layout's day stands once; its points' columns beside it. Widest columns first.
_TABLES = """
CREATE TABLE scan_days (
    meter_id bigint NOT NULL,
    day date NOT NULL,
    layout_id integer NOT NULL,
    scans integer NOT NULL,
    first_ms integer NOT NULL,
    step_ms integer,
    offsets_ms integer[],
    PRIMARY KEY (meter_id, day, layout_id)
) PARTITION BY RANGE (day);

CREATE TABLE point_days (
    meter_id bigint NOT NULL,
    point_id bigint NOT NULL,
    base bigint NOT NULL DEFAULT 0,
    divisor bigint NOT NULL DEFAULT 1,
    day date NOT NULL,
    layout_id integer NOT NULL,
    valued integer NOT NULL,
    int2s smallint[],
    int4s integer[],
    float4s real[],
    float8s float8[],
    quality smallint[],
    PRIMARY KEY (meter_id, point_id, day, layout_id)
) PARTITION BY RANGE (day);

ALTER TABLE organisations ADD COLUMN readings_from date;
"""

# Faster than pglz on the way in and out, and alike in size; not every server is built with it.
_COMPRESSION = """
DO $$
BEGIN
    IF 'lz4' = ANY(SELECT unnest(enumvals) FROM pg_settings WHERE name = 'default_toast_compression') THEN
        ALTER TABLE scan_days ALTER COLUMN offsets_ms SET COMPRESSION lz4;
        ALTER TABLE point_days
            ALTER COLUMN int2s SET COMPRESSION lz4, ALTER COLUMN int4s SET COMPRESSION lz4,
            ALTER COLUMN float4s SET COMPRESSION lz4, ALTER COLUMN float8s SET COMPRESSION lz4,
            ALTER COLUMN quality SET COMPRESSION lz4;
    END IF;
END
$$;
"""

# Nobody asks for a day by a value in it; ANALYZE would unpack thousands of days to find the commonest.
_STATISTICS = """
ALTER TABLE scan_days ALTER COLUMN offsets_ms SET STATISTICS 0;
ALTER TABLE point_days
    ALTER COLUMN int2s SET STATISTICS 0, ALTER COLUMN int4s SET STATISTICS 0, ALTER COLUMN float4s SET STATISTICS 0,
    ALTER COLUMN float8s SET STATISTICS 0, ALTER COLUMN quality SET STATISTICS 0;
"""

# A whole number as large as a double holds exactly, divided by a power of ten, is the very double that was stored;
# so is the shortest text of a float4. The day is there to be asked for: no partition is left out by observed_at.
_VIEWS = """
CREATE OR REPLACE VIEW readings AS
SELECT s.observed_at, s.meter_id, p.point_id,
       NULLIF(s.values[p.place], 'NaN') AS value,
       COALESCE(s.quality[p.place], 0::smallint) AS quality,
       (s.observed_at AT TIME ZONE 'UTC')::date AS day
FROM scans s
JOIN layouts l ON l.id = s.layout_id
CROSS JOIN LATERAL unnest(l.point_ids) WITH ORDINALITY AS p (point_id, place)
UNION ALL
SELECT d.day::timestamp AT TIME ZONE 'UTC'
           + COALESCE(r.offset_ms, d.first_ms + r.place * d.step_ms) * interval '1 millisecond',
       p.meter_id, p.point_id,
       CASE WHEN r.int2 IS NOT NULL THEN (p.base + NULLIF(r.int2, -32768)) / p.divisor::float8
            WHEN r.int4 IS NOT NULL THEN (p.base + NULLIF(r.int4, -2147483648)) / p.divisor::float8
            WHEN r.float4 IS NOT NULL THEN NULLIF(r.float4, 'NaN')::text::float8
            ELSE NULLIF(r.float8, 'NaN') END,
       COALESCE(r.quality, 0::smallint),
       p.day
FROM point_days p
JOIN scan_days d ON d.meter_id = p.meter_id AND d.day = p.day AND d.layout_id = p.layout_id
CROSS JOIN LATERAL ROWS FROM (
    generate_series(0, d.scans - 1), unnest(d.offsets_ms),
    unnest(p.int2s), unnest(p.int4s), unnest(p.float4s), unnest(p.float8s), unnest(p.quality)
) AS r (place, offset_ms, int2, int4, float4, float8, quality);
"""


def upgrade() -> None:
    op.execute(_TABLES)
    op.execute(_COMPRESSION)
    op.execute(_STATISTICS)
    op.execute(_VIEWS)
