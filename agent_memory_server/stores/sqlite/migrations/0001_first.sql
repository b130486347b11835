-- The first schema. Times are microseconds since the epoch; JSON is text; every key leads with the tenant or the scope,
-- which are interned: an id is data, bound as a parameter, and never part of a name.

CREATE TABLE facts (
    -- What this file knows about itself: the key of the token digests.
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO facts (name, value) VALUES ('token_key', randomblob(32));

CREATE TABLE probe (
    -- The readiness check writes here.
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE tenants (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE scopes (
    -- Owner scopes, never removed, with the keyword statistics of their live memories. A blob stands for "none" in the
    -- identity, because no text equals a blob.
    id INTEGER PRIMARY KEY,
    tenant_id INTEGER NOT NULL REFERENCES tenants (id),
    namespace TEXT,
    user_id TEXT,
    documents INTEGER NOT NULL DEFAULT 0,
    terms INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX scopes_identity ON scopes (tenant_id, ifnull(user_id, x''), ifnull(namespace, x''));
CREATE INDEX scopes_by_namespace ON scopes (tenant_id, ifnull(namespace, x''));

-- Working memory ------------------------------------------------------------------------------------------------------

CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id INTEGER NOT NULL REFERENCES tenants (id),
    scope_id INTEGER NOT NULL REFERENCES scopes (id),
    session_id TEXT NOT NULL,
    epoch TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_accessed INTEGER NOT NULL,
    expires_at INTEGER,
    ttl_seconds INTEGER,
    context TEXT,
    tokens INTEGER NOT NULL,
    data TEXT,
    strategy TEXT NOT NULL,
    strategy_config TEXT,
    memories TEXT,
    live_count INTEGER NOT NULL,
    archived_count INTEGER NOT NULL DEFAULT 0,
    next_seq INTEGER NOT NULL,
    -- Every message up to this sequence is copied to long-term memory: where the search for others begins.
    promoted_through INTEGER NOT NULL DEFAULT 0,
    summarization TEXT NOT NULL DEFAULT 'none'
) STRICT;
CREATE UNIQUE INDEX sessions_identity ON sessions (tenant_id, session_id, scope_id);
CREATE INDEX sessions_of_scope ON sessions (scope_id, updated_at DESC, session_id, expires_at);
CREATE INDEX sessions_of_tenant ON sessions (tenant_id, updated_at DESC, session_id, scope_id, expires_at);
CREATE INDEX sessions_expiring ON sessions (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE messages (
    -- A session's messages lie together, in order of arrival.
    session INTEGER NOT NULL REFERENCES sessions (id),
    seq INTEGER NOT NULL,
    archived INTEGER NOT NULL DEFAULT 0,
    id TEXT NOT NULL,
    role TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    name TEXT,
    persisted_at INTEGER,
    extracted INTEGER NOT NULL,
    token_count INTEGER NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX messages_identity ON messages (session, id);

-- Long-term memory ----------------------------------------------------------------------------------------------------

CREATE TABLE memories (
    -- AUTOINCREMENT: a handle that a search has returned never comes to mean another memory.
    handle INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id INTEGER NOT NULL REFERENCES tenants (id),
    scope_id INTEGER NOT NULL REFERENCES scopes (id),
    id TEXT NOT NULL,
    session_id TEXT,
    superseded_by TEXT,
    -- 1: superseded because it says the same as its survivor, so that it goes when the survivor is deleted.
    is_copy INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_accessed INTEGER NOT NULL,
    access_count INTEGER NOT NULL,
    expires_at INTEGER,
    event_date INTEGER,
    memory_type TEXT NOT NULL,
    strategy TEXT NOT NULL,
    memory_hash TEXT NOT NULL,
    pinned INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    operation_id TEXT NOT NULL,
    -- The kind of the operation that first wrote it.
    origin TEXT NOT NULL,
    -- The vector space of the newest vector or "nothing to embed" mark; NULL while one is to come.
    space_id INTEGER REFERENCES spaces (id),
    has_vector INTEGER NOT NULL DEFAULT 0,
    -- What is neither filtered nor sorted by, as JSON without the defaults.
    extra TEXT,
    topics TEXT,
    entities TEXT,
    -- Digests of the index terms with their counts, packed: what has to leave the postings with this memory.
    terms BLOB NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX memories_identity ON memories (tenant_id, id, scope_id);
CREATE INDEX memories_of_scope ON memories (scope_id, created_at DESC, id);
CREATE INDEX memories_of_tenant ON memories (tenant_id, created_at DESC, id, scope_id);
CREATE INDEX memories_by_hash ON memories (tenant_id, memory_hash, scope_id);
CREATE INDEX memories_by_session ON memories (tenant_id, session_id, scope_id) WHERE session_id IS NOT NULL;
CREATE INDEX memories_by_space ON memories (space_id, handle);
CREATE INDEX memories_superseded ON memories (scope_id, superseded_by) WHERE superseded_by IS NOT NULL;
CREATE INDEX memories_expiring ON memories (scope_id, expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE tags (
    -- Topics (kind 1) and entities (kind 2).
    tenant_id INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    value TEXT NOT NULL,
    scope_id INTEGER NOT NULL,
    handle INTEGER NOT NULL REFERENCES memories (handle),
    PRIMARY KEY (tenant_id, kind, value, scope_id, handle)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_of_memory ON tags (handle);

CREATE TABLE postings (
    -- One row for each distinct term of each memory. Clustered by scope: a memory's terms are written side by side, and
    -- a search within one scope reads one place. ``token`` is a keyed digest, so no text outlives its memory here.
    scope_id INTEGER NOT NULL,
    token INTEGER NOT NULL,
    handle INTEGER NOT NULL,
    live INTEGER NOT NULL,
    count INTEGER NOT NULL,
    length INTEGER NOT NULL,
    PRIMARY KEY (scope_id, token, handle)
) STRICT, WITHOUT ROWID;

CREATE TABLE spaces (
    -- What vectors may be compared within: one model and one kind of vector.
    id INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    kind TEXT NOT NULL,
    UNIQUE (model, kind)
) STRICT;

CREATE TABLE vectors (
    space_id INTEGER NOT NULL REFERENCES spaces (id),
    tenant_id INTEGER NOT NULL,
    scope_id INTEGER NOT NULL,
    handle INTEGER NOT NULL REFERENCES memories (handle),
    live INTEGER NOT NULL,
    vector BLOB NOT NULL,
    PRIMARY KEY (space_id, tenant_id, scope_id, handle)
) STRICT, WITHOUT ROWID;
CREATE INDEX vectors_of_memory ON vectors (handle);

CREATE TABLE vector_changes (
    -- The newest changes of vectors, so that every process can bring its packed copy up to date.
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    space_id INTEGER NOT NULL,
    tenant_id INTEGER NOT NULL,
    handle INTEGER NOT NULL
) STRICT;

-- The journal ---------------------------------------------------------------------------------------------------------

CREATE TABLE operations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id INTEGER NOT NULL REFERENCES tenants (id),
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    at INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX operations_identity ON operations (tenant_id, id);

CREATE TABLE entries (
    -- One change of one memory: the state before it. The state after it is the next entry's before, or the live record.
    -- ``part`` is 0 for a change that was asked for, more for what followed from it.
    operation INTEGER NOT NULL REFERENCES operations (seq),
    change INTEGER NOT NULL,
    part INTEGER NOT NULL,
    scope_id INTEGER NOT NULL,
    memory_id TEXT NOT NULL,
    effect TEXT NOT NULL,
    survivor TEXT NOT NULL,
    scrubbed INTEGER NOT NULL DEFAULT 0,
    before TEXT,
    PRIMARY KEY (operation, change, part)
) STRICT, WITHOUT ROWID;
CREATE INDEX entries_of_memory ON entries (scope_id, memory_id, operation);
CREATE INDEX entries_of_scope ON entries (scope_id, operation);

-- Pending work and leases ---------------------------------------------------------------------------------------------

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    scope_id INTEGER NOT NULL REFERENCES scopes (id),
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    payload TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    requested_at INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    claimed_until INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL DEFAULT 1,
    dead INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    task_id TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX outbox_identity ON outbox (scope_id, kind, key);
CREATE INDEX outbox_due ON outbox (dead, created_at, id, kind, not_before, claimed_until);

CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What the query planner should assume about sizes: many memories a tenant, few a scope. Written by hand, so that plans do
-- not change while data grows.
ANALYZE sqlite_schema;
DELETE FROM sqlite_stat1;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('memories', 'memories_identity', '1000000 500000 2 1'),
    ('memories', 'memories_of_scope', '1000000 1000 2 1'),
    ('memories', 'memories_of_tenant', '1000000 500000 2 1 1'),
    ('memories', 'memories_by_hash', '1000000 500000 2 2'),
    ('memories', 'memories_by_session', '1000000 500000 100 50'),
    ('memories', 'memories_by_space', '1000000 500000 1'),
    ('memories', 'memories_superseded', '10000 100 2'),
    ('memories', 'memories_expiring', '10000 100 2'),
    ('sessions', 'sessions_identity', '100000 50000 2 1'),
    ('sessions', 'sessions_of_scope', '100000 100 2 1 1'),
    ('sessions', 'sessions_of_tenant', '100000 50000 3 2 1 1'),
    ('sessions', 'sessions_expiring', '1000 2'),
    ('scopes', 'scopes_identity', '10000 5000 2 1'),
    ('scopes', 'scopes_by_namespace', '10000 5000 100'),
    ('messages', 'messages', '1000000 100 1'),
    ('messages', 'messages_identity', '1000000 100 1'),
    ('tags', 'tags', '3000000 1500000 700000 3000 20 1'),
    ('tags', 'tags_of_memory', '3000000 3'),
    ('postings', 'postings', '30000000 30000 10 1'),
    ('vectors', 'vectors', '1000000 500000 500000 1000 1'),
    ('vectors', 'vectors_of_memory', '1000000 1'),
    ('entries', 'entries', '1000000 1 1 1'),
    ('entries', 'entries_of_memory', '1000000 1000 2 1'),
    ('entries', 'entries_of_scope', '1000000 1000 1'),
    ('operations', 'operations_identity', '1000000 500000 1'),
    ('outbox', 'outbox_identity', '1000 10 5 1'),
    ('outbox', 'outbox_due', '1000 500 2 1 1 1 1');
