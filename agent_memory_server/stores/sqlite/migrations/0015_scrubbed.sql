-- How often text left the history of some memory of a tenant: whoever keeps earlier states in memory looks here first.
ALTER TABLE tenants ADD COLUMN scrubbed INTEGER NOT NULL DEFAULT 0;
