-- The journal's first form. Events are rows in commit order: `offset` is given inside the writing transaction,
-- of which there is one at a time, so a reader never sees a hole that is filled later. AUTOINCREMENT: an offset
-- is not given twice, even after the newest rows were pruned.
CREATE TABLE journal (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE events (
    offset       INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    source       TEXT    NOT NULL,
    family       TEXT    NOT NULL,
    epoch        INTEGER NOT NULL,
    sequence     INTEGER NOT NULL,
    committed_us INTEGER NOT NULL,
    body         BLOB    NOT NULL,
    UNIQUE (source, family, epoch, sequence)
);

-- How far each named consumer has come.
CREATE TABLE consumers (
    name   TEXT PRIMARY KEY,
    offset INTEGER NOT NULL
) WITHOUT ROWID;

-- Each opening of the journal is an epoch for the events that have no stream to count by.
CREATE TABLE openings (
    epoch INTEGER PRIMARY KEY
);

CREATE TABLE note_sequences (
    source TEXT    NOT NULL,
    family TEXT    NOT NULL,
    epoch  INTEGER NOT NULL,
    next   INTEGER NOT NULL,
    PRIMARY KEY (source, family, epoch)
) WITHOUT ROWID;

-- Stream epochs, and how media time maps to capture time in each.
CREATE TABLE epochs (
    camera  TEXT    NOT NULL,
    stream  TEXT    NOT NULL,
    epoch   INTEGER NOT NULL,
    info    BLOB    NOT NULL,
    end_pts INTEGER,
    reason  TEXT,
    PRIMARY KEY (camera, stream, epoch)
) WITHOUT ROWID;

CREATE TABLE anchors (
    camera TEXT    NOT NULL,
    stream TEXT    NOT NULL,
    epoch  INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    body   BLOB    NOT NULL,
    PRIMARY KEY (camera, stream, epoch, n)
) WITHOUT ROWID;

-- The state of gate, tracker and rules at a moment of a stream.
CREATE TABLE snapshots (
    n       INTEGER PRIMARY KEY AUTOINCREMENT,
    camera  TEXT    NOT NULL,
    stream  TEXT    NOT NULL,
    epoch   INTEGER NOT NULL,
    segment TEXT    NOT NULL,
    pts     INTEGER NOT NULL,
    body    BLOB    NOT NULL
);
CREATE INDEX snapshots_by_stream ON snapshots (camera, stream, n);
CREATE INDEX snapshots_by_segment ON snapshots (segment, n);

-- The segment index. `body` is the whole row; the columns beside it are what is searched.
CREATE TABLE segments (
    id       TEXT PRIMARY KEY,
    camera   TEXT    NOT NULL,
    stream   TEXT    NOT NULL,
    epoch    INTEGER NOT NULL,
    n        INTEGER NOT NULL,
    state    TEXT    NOT NULL,
    start_us INTEGER NOT NULL,
    end_us   INTEGER NOT NULL,
    body     BLOB    NOT NULL
) WITHOUT ROWID;
CREATE INDEX segments_by_start ON segments (start_us);
CREATE INDEX segments_by_stream ON segments (camera, stream, start_us);
