-- A session's live messages in the order of the conversation (time, then arrival): a message's neighbours are beside it here.
CREATE INDEX messages_in_order ON memories (scope_id, session_id, created_at, handle)
    WHERE memory_type = 'message' AND session_id IS NOT NULL AND superseded_by IS NULL;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('memories', 'messages_in_order', '1000000 1000 50 1 1');
