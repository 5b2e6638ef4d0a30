-- What services keep in the same transaction as the events that follow from it: rules' state, how far one came.
CREATE TABLE states (
    name TEXT PRIMARY KEY,
    body BLOB NOT NULL
) WITHOUT ROWID;

-- An opening's numbers are given by its own process alone, which knows them.
DROP TABLE note_sequences;
