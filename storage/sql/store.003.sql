-- Where an alert is, which preset it belongs to, what it is made of; `box` may be JSON's null from here on.
ALTER TABLE alerts ADD COLUMN place TEXT NOT NULL DEFAULT 'null';
ALTER TABLE alerts ADD COLUMN preset TEXT NOT NULL DEFAULT '';
ALTER TABLE alerts ADD COLUMN causes TEXT NOT NULL DEFAULT '[]';

ALTER TABLE intervals ADD COLUMN preset TEXT NOT NULL DEFAULT '';

-- The event that raised it last: its pictures are named by that.
ALTER TABLE health ADD COLUMN event TEXT NOT NULL DEFAULT '';

-- The last judgement of each alert. A table of its own: a judgement may come before its alert.
CREATE TABLE judgements (
    alert     TEXT PRIMARY KEY,
    verdict   TEXT    NOT NULL,
    judged_by TEXT    NOT NULL,
    judged_us INTEGER NOT NULL,
    note      TEXT    NOT NULL
) WITHOUT ROWID;

-- Where each dome looks.
CREATE TABLE views (
    source   TEXT PRIMARY KEY,
    state    TEXT    NOT NULL,
    preset   TEXT    NOT NULL,
    was      TEXT    NOT NULL,
    score    REAL    NOT NULL,
    time_us  INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    sequence INTEGER NOT NULL
) WITHOUT ROWID;

-- Captures of faces. One whose deletion came first has at_us = 0 until it comes itself.
CREATE TABLE faces (
    capture    TEXT PRIMARY KEY,
    source     TEXT    NOT NULL,
    at_us      INTEGER NOT NULL,
    since_us   INTEGER NOT NULL,
    until_us   INTEGER NOT NULL,
    quality    REAL    NOT NULL,
    measures   TEXT    NOT NULL,
    box        TEXT    NOT NULL,
    picture    TEXT    NOT NULL,
    sealed     TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('kept', 'unsealed', 'deleted')),
    deleted_us INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX faces_by_time ON faces (at_us);
CREATE INDEX faces_held ON faces (state) WHERE state <> 'deleted';

-- The latest value of each sensor and quantity.
CREATE TABLE sensors (
    source      TEXT    NOT NULL,
    quantity    TEXT    NOT NULL,
    unit        TEXT    NOT NULL,
    value       REAL    NOT NULL,
    time_us     INTEGER NOT NULL,
    received_us INTEGER NOT NULL,
    PRIMARY KEY (source, quantity)
) WITHOUT ROWID;

-- What charts are drawn from: one value at a time of each sensor and quantity.
CREATE TABLE readings (
    source   TEXT    NOT NULL,
    quantity TEXT    NOT NULL,
    time_us  INTEGER NOT NULL,
    value    REAL    NOT NULL,
    PRIMARY KEY (source, quantity, time_us)
) WITHOUT ROWID;
