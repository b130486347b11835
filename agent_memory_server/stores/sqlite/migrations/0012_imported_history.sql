-- What happened to memories in the stores that they were imported from. It is no part of this file's own journal: nothing of it
-- was done here, and nothing of it can be undone. ``document`` holds the texts; it goes with the memory's text.
CREATE TABLE imported_revisions (
    scope_id INTEGER NOT NULL,
    memory_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    effect TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (scope_id, memory_id, number)
) STRICT, WITHOUT ROWID;
-- Of what was gone before it came: when it is to be let go of.
CREATE INDEX imported_revisions_gone ON imported_revisions (memory_id, scope_id, at) WHERE effect = 'deleted';
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('imported_revisions', 'imported_revisions', '1000000 1000 2 1'),
    ('imported_revisions', 'imported_revisions_gone', '10000 2 1 1');
