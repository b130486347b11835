-- What was carried into this file from other stores, so that a transfer goes on where it stopped, and so that nothing which was
-- deleted here since comes back with it.
CREATE TABLE transfers (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE transfer_marks (
    -- ``ref`` is a digest of the record's name in the source, ``mark`` one of what was carried of it.
    transfer TEXT NOT NULL,
    kind TEXT NOT NULL,
    ref TEXT NOT NULL,
    mark TEXT NOT NULL,
    PRIMARY KEY (transfer, kind, ref)
) STRICT, WITHOUT ROWID;
