-- What waits to be copied to an object store, and what became of it.
CREATE TABLE items (
    key       TEXT PRIMARY KEY,
    kind      TEXT    NOT NULL CHECK (kind IN ('picture', 'clip', 'footage')),
    urgent    INTEGER NOT NULL,
    path      TEXT    NOT NULL,
    sha256    TEXT    NOT NULL,
    stamp     TEXT    NOT NULL,
    bytes     INTEGER NOT NULL,
    from_us   INTEGER NOT NULL,
    to_us     INTEGER NOT NULL,
    state     TEXT    NOT NULL CHECK (state IN ('waiting', 'sending', 'done', 'lost')),
    begun     INTEGER NOT NULL DEFAULT 0,
    after_us  INTEGER NOT NULL DEFAULT 0,
    why       TEXT    NOT NULL DEFAULT '',
    ended_us  INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX items_in_turn ON items (state, urgent, from_us, key, bytes);

-- Up to which offset of a journal its segments are in here.
CREATE TABLE positions (
    journal TEXT PRIMARY KEY,
    offset  INTEGER NOT NULL
) WITHOUT ROWID;

-- Over all time: rows that are done or lost do not stay.
CREATE TABLE totals (
    state TEXT PRIMARY KEY,
    items INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO totals VALUES ('done', 0, 0), ('lost', 0, 0);
