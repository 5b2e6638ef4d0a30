-- Many boxes: which of them opened which stream of a camera, and what does not count because of it.
CREATE TABLE claims (
    source   TEXT    NOT NULL,
    epoch    INTEGER NOT NULL,
    token    INTEGER NOT NULL,
    box      TEXT    NOT NULL,
    since_us INTEGER NOT NULL,
    PRIMARY KEY (source, epoch, token, box)
) WITHOUT ROWID;
CREATE INDEX claims_by_token ON claims (source, token);

-- Up to which epoch a source's claims were pruned.
CREATE TABLE forgotten (
    source TEXT PRIMARY KEY,
    epoch  INTEGER NOT NULL
) WITHOUT ROWID;

ALTER TABLE events ADD COLUMN superseded INTEGER NOT NULL DEFAULT 0;
CREATE INDEX events_superseded ON events (n) WHERE superseded;
-- What a total is recomputed from.
CREATE INDEX events_counted ON events (source, time_us) WHERE family = 'count' AND NOT superseded;
CREATE INDEX alerts_by_source ON alerts (source, epoch);

ALTER TABLE faces ADD COLUMN place TEXT NOT NULL DEFAULT 'null';
