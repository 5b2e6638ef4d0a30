"""Claims of boxes and what they supersede; alerts and faces as points for map clients."""

from alembic import op

revision = "0002"
down_revision = "0001"

CLAIMS = """
CREATE TABLE claims (
    source   text COLLATE "C" NOT NULL,
    epoch    bigint NOT NULL,
    token    bigint NOT NULL,
    box      text COLLATE "C" NOT NULL,
    since_us bigint NOT NULL,
    PRIMARY KEY (source, epoch, token, box)
);
CREATE INDEX claims_by_token ON claims (source, token);

CREATE TABLE forgotten (
    source text COLLATE "C" PRIMARY KEY,
    epoch  bigint NOT NULL
);

ALTER TABLE events ADD COLUMN superseded boolean NOT NULL DEFAULT false;
ALTER TABLE faces ADD COLUMN place jsonb NOT NULL DEFAULT 'null';
"""

MAP = """
CREATE FUNCTION linli_point(place jsonb) RETURNS geometry(Point, 4326)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE jsonb_typeof(place) WHEN 'array' THEN
        ST_SetSRID(ST_MakePoint((place->>0)::double precision, (place->>1)::double precision), 4326) END
$$;

CREATE FUNCTION linli_time(us bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT timestamptz 'epoch' + us * interval '1 microsecond'
$$;

CREATE VIEW alerts_on_map AS
SELECT alert, source, rule, kind, severity, label, state, linli_time(raised_us) AS raised,
       linli_time(cleared_us) AS cleared, reason, verdict, detail->>'why' AS why,
       linli_point(place)::geometry(Point, 4326) AS geom
FROM alerts LEFT JOIN judgements USING (alert)
WHERE linli_point(place) IS NOT NULL;

CREATE VIEW faces_on_map AS
SELECT capture, source, linli_time(at_us) AS captured, quality, state,
       linli_point(place)::geometry(Point, 4326) AS geom
FROM faces
WHERE linli_point(place) IS NOT NULL AND at_us > 0;
"""


def upgrade() -> None:
    op.execute(CLAIMS)
    op.execute(MAP)
