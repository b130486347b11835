-- The journal tells more (why, for programs; which operations are one run), finds what is gone, and says what was when.

ALTER TABLE operations ADD COLUMN details TEXT;
ALTER TABLE operations ADD COLUMN run TEXT;
CREATE INDEX operations_of_run ON operations (tenant_id, run) WHERE run IS NOT NULL;
CREATE INDEX operations_by_time ON operations (tenant_id, at);

-- Whether the state before was that of a copy, and its scope, where that was another than the memory has now.
ALTER TABLE entries ADD COLUMN is_copy INTEGER NOT NULL DEFAULT 0;
ALTER TABLE entries ADD COLUMN scope_then INTEGER;
CREATE INDEX entries_moved ON entries (scope_then, operation) WHERE scope_then IS NOT NULL;
CREATE INDEX entries_gone ON entries (memory_id, scope_id, operation) WHERE effect = 'deleted';
CREATE INDEX entries_to_thin ON entries (operation) WHERE effect = 'deleted' AND before IS NOT NULL;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('operations', 'operations_of_run', '10000 5000 20'),
    ('operations', 'operations_by_time', '1000000 500000 1'),
    ('entries', 'entries_moved', '1000 100 1'),
    ('entries', 'entries_gone', '100000 2 1 1'),
    ('entries', 'entries_to_thin', '100000 10');
