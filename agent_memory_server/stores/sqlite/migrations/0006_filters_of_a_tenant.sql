-- What a filter over a whole tenant looks at, so that it need not read the memories themselves: at 100,000 of them a search
-- without messages took seconds.
CREATE INDEX memories_by_type ON memories (tenant_id, memory_type, scope_id, superseded_by, expires_at, event_date);
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('memories', 'memories_by_type', '1000000 500000 200000 500 490 480 470');
