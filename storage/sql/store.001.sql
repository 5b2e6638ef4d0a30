-- The store's first form: what people ask for, made from the events in order. Made again from a journal that still
-- has them all it is the same; from one that was pruned it holds what that still has, and totals begin there.
CREATE TABLE offsets (
    log    TEXT PRIMARY KEY,
    offset INTEGER NOT NULL
) WITHOUT ROWID;

-- Every event that was not pruned, in the order in which the store got it. An event is applied if it is new here.
CREATE TABLE events (
    n        INTEGER PRIMARY KEY,
    id       TEXT    NOT NULL,
    source   TEXT    NOT NULL,
    family   TEXT    NOT NULL,
    epoch    INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    time_us  INTEGER NOT NULL,
    body     BLOB    NOT NULL,
    UNIQUE (source, family, epoch, sequence)
);
CREATE INDEX events_by_time ON events (time_us);

-- Crossings, added up.
CREATE TABLE totals (
    source    TEXT    NOT NULL,
    rule      TEXT    NOT NULL,
    direction TEXT    NOT NULL,
    label     TEXT    NOT NULL,
    count     INTEGER NOT NULL,
    last_us   INTEGER NOT NULL,
    PRIMARY KEY (source, rule, direction, label)
) WITHOUT ROWID;

-- One row per interval event; an interval in which a new epoch began has several.
CREATE TABLE intervals (
    source     TEXT    NOT NULL,
    rule       TEXT    NOT NULL,
    start_us   INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    sequence   INTEGER NOT NULL,
    end_us     INTEGER NOT NULL,
    counts     TEXT    NOT NULL,
    occupancy  TEXT    NOT NULL,
    observed_s REAL    NOT NULL,
    PRIMARY KEY (source, rule, start_us, epoch, sequence)
) WITHOUT ROWID;
CREATE INDEX intervals_by_start ON intervals (start_us);

CREATE TABLE alerts (
    alert      TEXT PRIMARY KEY,
    source     TEXT    NOT NULL,
    epoch      INTEGER NOT NULL,
    rule       TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    severity   TEXT    NOT NULL,
    label      TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('open', 'cleared')),
    since_us   INTEGER NOT NULL,
    raised_us  INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    cleared_us INTEGER,
    until_us   INTEGER,
    reason     TEXT,
    tracks     TEXT    NOT NULL,
    box        TEXT    NOT NULL,
    detail     TEXT    NOT NULL
) WITHOUT ROWID;
CREATE INDEX alerts_by_time ON alerts (raised_us);
CREATE INDEX alerts_open ON alerts (raised_us) WHERE state = 'open';

-- The last state of each thing that can be wrong with a camera or a box.
CREATE TABLE health (
    source   TEXT    NOT NULL,
    what     TEXT    NOT NULL,
    state    TEXT    NOT NULL,
    message  TEXT    NOT NULL,
    detail   TEXT    NOT NULL,
    since_us INTEGER NOT NULL,
    seen_us  INTEGER NOT NULL,
    PRIMARY KEY (source, what)
) WITHOUT ROWID;

CREATE TABLE access (
    n       INTEGER PRIMARY KEY,
    source  TEXT    NOT NULL,
    time_us INTEGER NOT NULL,
    who     TEXT    NOT NULL,
    what    TEXT    NOT NULL,
    object  TEXT    NOT NULL,
    plain   INTEGER NOT NULL,
    purpose TEXT    NOT NULL,
    allowed INTEGER NOT NULL
);
