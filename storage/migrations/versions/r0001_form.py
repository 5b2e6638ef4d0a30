"""The first form: what the third form of the SQLite store has."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE offsets (
    log      text COLLATE "C" PRIMARY KEY,
    "offset" bigint NOT NULL
);

CREATE TABLE events (
    n        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id       text COLLATE "C" NOT NULL,
    source   text COLLATE "C" NOT NULL,
    family   text COLLATE "C" NOT NULL,
    epoch    bigint NOT NULL,
    sequence bigint NOT NULL,
    time_us  bigint NOT NULL,
    body     text COLLATE "C" NOT NULL,
    UNIQUE (source, family, epoch, sequence)
);
CREATE INDEX events_by_time ON events (time_us);

CREATE TABLE totals (
    source    text COLLATE "C" NOT NULL,
    rule      text COLLATE "C" NOT NULL,
    direction text COLLATE "C" NOT NULL,
    label     text COLLATE "C" NOT NULL,
    count     bigint NOT NULL,
    last_us   bigint NOT NULL,
    PRIMARY KEY (source, rule, direction, label)
);

CREATE TABLE intervals (
    source     text COLLATE "C" NOT NULL,
    rule       text COLLATE "C" NOT NULL,
    start_us   bigint NOT NULL,
    epoch      bigint NOT NULL,
    sequence   bigint NOT NULL,
    end_us     bigint NOT NULL,
    counts     jsonb NOT NULL,
    occupancy  jsonb NOT NULL,
    observed_s double precision NOT NULL,
    preset     text COLLATE "C" NOT NULL DEFAULT '',
    PRIMARY KEY (source, rule, start_us, epoch, sequence)
);
CREATE INDEX intervals_by_start ON intervals (start_us);

CREATE TABLE alerts (
    alert      text COLLATE "C" PRIMARY KEY,
    source     text COLLATE "C" NOT NULL,
    epoch      bigint NOT NULL,
    rule       text COLLATE "C" NOT NULL,
    kind       text COLLATE "C" NOT NULL,
    severity   text COLLATE "C" NOT NULL,
    label      text COLLATE "C" NOT NULL,
    state      text COLLATE "C" NOT NULL CHECK (state IN ('open', 'cleared')),
    since_us   bigint NOT NULL,
    raised_us  bigint NOT NULL,
    updated_us bigint NOT NULL,
    cleared_us bigint,
    until_us   bigint,
    reason     text COLLATE "C",
    tracks     jsonb NOT NULL,
    box        jsonb NOT NULL,
    detail     jsonb NOT NULL,
    place      jsonb NOT NULL DEFAULT 'null',
    preset     text COLLATE "C" NOT NULL DEFAULT '',
    causes     jsonb NOT NULL DEFAULT '[]'
);
CREATE INDEX alerts_by_time ON alerts (raised_us);
CREATE INDEX alerts_open ON alerts (raised_us) WHERE state = 'open';

CREATE TABLE health (
    source   text COLLATE "C" NOT NULL,
    what     text COLLATE "C" NOT NULL,
    state    text COLLATE "C" NOT NULL,
    message  text COLLATE "C" NOT NULL,
    detail   jsonb NOT NULL,
    since_us bigint NOT NULL,
    seen_us  bigint NOT NULL,
    event    text COLLATE "C" NOT NULL DEFAULT '',
    PRIMARY KEY (source, what)
);

CREATE TABLE access (
    n       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source  text COLLATE "C" NOT NULL,
    time_us bigint NOT NULL,
    who     text COLLATE "C" NOT NULL,
    what    text COLLATE "C" NOT NULL,
    object  text COLLATE "C" NOT NULL,
    plain   boolean NOT NULL,
    purpose text COLLATE "C" NOT NULL,
    allowed boolean NOT NULL
);

CREATE TABLE pruned (
    source   text COLLATE "C" NOT NULL,
    family   text COLLATE "C" NOT NULL,
    epoch    bigint NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (source, family, epoch)
);

CREATE TABLE judgements (
    alert     text COLLATE "C" PRIMARY KEY,
    verdict   text COLLATE "C" NOT NULL,
    judged_by text COLLATE "C" NOT NULL,
    judged_us bigint NOT NULL,
    note      text COLLATE "C" NOT NULL
);

CREATE TABLE views (
    source   text COLLATE "C" PRIMARY KEY,
    state    text COLLATE "C" NOT NULL,
    preset   text COLLATE "C" NOT NULL,
    was      text COLLATE "C" NOT NULL,
    score    double precision NOT NULL,
    time_us  bigint NOT NULL,
    epoch    bigint NOT NULL,
    sequence bigint NOT NULL
);

CREATE TABLE faces (
    capture    text COLLATE "C" PRIMARY KEY,
    source     text COLLATE "C" NOT NULL,
    at_us      bigint NOT NULL,
    since_us   bigint NOT NULL,
    until_us   bigint NOT NULL,
    quality    double precision NOT NULL,
    measures   jsonb NOT NULL,
    box        jsonb NOT NULL,
    picture    text COLLATE "C" NOT NULL,
    sealed     text COLLATE "C" NOT NULL,
    state      text COLLATE "C" NOT NULL CHECK (state IN ('kept', 'unsealed', 'deleted')),
    deleted_us bigint NOT NULL
);
CREATE INDEX faces_by_time ON faces (at_us);
CREATE INDEX faces_held ON faces (state) WHERE state <> 'deleted';

CREATE TABLE sensors (
    source      text COLLATE "C" NOT NULL,
    quantity    text COLLATE "C" NOT NULL,
    unit        text COLLATE "C" NOT NULL,
    value       double precision NOT NULL,
    time_us     bigint NOT NULL,
    received_us bigint NOT NULL,
    PRIMARY KEY (source, quantity)
);

CREATE TABLE readings (
    source   text COLLATE "C" NOT NULL,
    quantity text COLLATE "C" NOT NULL,
    time_us  bigint NOT NULL,
    value    double precision NOT NULL,
    PRIMARY KEY (source, quantity, time_us)
);
"""


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS postgis")
    op.execute(TABLES)
