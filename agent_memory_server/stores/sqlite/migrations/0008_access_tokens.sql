-- Who may use the server. A token is looked up by its keyed digest (the key is the fact 'credential_key'); one that was
-- imported has a hash in its place until it is first used.
CREATE TABLE access_tokens (
    id TEXT PRIMARY KEY,
    digest TEXT UNIQUE,
    imported_hash TEXT UNIQUE,
    tenant TEXT NOT NULL,
    namespace TEXT,
    user_id TEXT,
    permissions TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    CHECK ((digest IS NULL) <> (imported_hash IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX access_tokens_imported ON access_tokens (created_at) WHERE imported_hash IS NOT NULL;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('access_tokens', 'access_tokens_imported', '100 1');
