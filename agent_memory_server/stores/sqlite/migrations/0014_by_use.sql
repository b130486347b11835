-- Memories of a whole tenant in the order in which they were last used, for lists that begin with what was not used for longest.
CREATE INDEX memories_by_use ON memories (tenant_id, last_accessed, id, scope_id);
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('memories', 'memories_by_use', '1000000 500000 2 1 1');
