-- Memories that changed since they were last compared with others: what deduplication and compaction look at, and nothing
-- else. ``stamp`` differs after each change, so that what changes while it is compared stays due.
CREATE TABLE comparisons_due (
    handle INTEGER PRIMARY KEY REFERENCES memories (handle),
    tenant_id INTEGER NOT NULL,
    scope_id INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    stamp INTEGER NOT NULL
) STRICT;
CREATE INDEX comparisons_due_in_order ON comparisons_due (tenant_id, stage, scope_id, handle);
INSERT INTO comparisons_due (handle, tenant_id, scope_id, stage, stamp)
    SELECT handle, tenant_id, scope_id, 1, random() FROM memories
    WHERE superseded_by IS NULL AND NOT (memory_type = 'message' AND strategy = 'message');

CREATE TABLE clock (
    -- The newest time at which anything was done, and the last step of the clock that is not settled.
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seen INTEGER NOT NULL,
    stepped_from INTEGER,
    stepped_at INTEGER
) STRICT;
INSERT INTO clock (id, seen) SELECT 1, at FROM operations ORDER BY seq DESC LIMIT 1;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('comparisons_due', 'comparisons_due_in_order', '100000 50000 20000 100 1');
