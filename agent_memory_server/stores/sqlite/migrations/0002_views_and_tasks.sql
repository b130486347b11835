-- Summary views with their partitions, tasks that clients can ask about, and when schedules were last due.

CREATE TABLE summary_views (
    -- ``scope_id`` is the owner: the reach of the caller that made the view.
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id INTEGER NOT NULL REFERENCES tenants (id),
    scope_id INTEGER NOT NULL REFERENCES scopes (id),
    id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    continuous INTEGER NOT NULL,
    definition TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX summary_views_identity ON summary_views (tenant_id, id);
CREATE INDEX summary_views_of_scope ON summary_views (scope_id);
CREATE INDEX summary_views_continuous ON summary_views (id) WHERE continuous = 1;

CREATE TABLE partitions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    view INTEGER NOT NULL REFERENCES summary_views (number),
    group_key TEXT NOT NULL,
    -- The group's values; NULL for a field that the view does not group by.
    user_id TEXT,
    namespace TEXT,
    session_id TEXT,
    memory_type TEXT,
    summary TEXT NOT NULL,
    memory_count INTEGER NOT NULL,
    computed_at INTEGER NOT NULL,
    -- NULL: to be made anew, whatever its memories are.
    fingerprint TEXT,
    empty_reason TEXT
) STRICT;
CREATE UNIQUE INDEX partitions_identity ON partitions (view, group_key);

CREATE TABLE partition_sources (
    -- The memories whose text a summary was made of: when one is deleted for good, the summary goes with it.
    scope_id INTEGER NOT NULL,
    memory_id TEXT NOT NULL,
    partition INTEGER NOT NULL REFERENCES partitions (number),
    PRIMARY KEY (scope_id, memory_id, partition)
) STRICT, WITHOUT ROWID;
CREATE INDEX partition_sources_of ON partition_sources (partition);

CREATE TABLE tasks (
    -- A task follows the intent ``intent`` (its outbox row's id, never used again) from the request ``generation`` on.
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id INTEGER NOT NULL REFERENCES tenants (id),
    scope_id INTEGER NOT NULL REFERENCES scopes (id),
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    view_id TEXT,
    intent INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    status TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    completed_at INTEGER,
    error_message TEXT,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX tasks_identity ON tasks (tenant_id, id, scope_id);
CREATE INDEX tasks_of_intent ON tasks (intent, status);
CREATE INDEX tasks_of_scope ON tasks (scope_id, created_at DESC, id);
CREATE INDEX tasks_of_tenant ON tasks (tenant_id, created_at DESC, id, scope_id);
CREATE INDEX tasks_expiring ON tasks (expires_at);

CREATE INDEX outbox_by_task ON outbox (scope_id, task_id);

CREATE TABLE schedules (
    name TEXT PRIMARY KEY,
    last_run INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
