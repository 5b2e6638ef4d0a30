-- What services keep in the same transaction as the events that belong to it: rules' state, how far one came.
-- `offset`: of the newest event then, those of the same transaction included.
CREATE TABLE states (
    name   TEXT PRIMARY KEY,
    offset INTEGER NOT NULL,
    body   BLOB    NOT NULL
) WITHOUT ROWID;

-- An opening's numbers are given by its own process alone, which knows them.
DROP TABLE note_sequences;
