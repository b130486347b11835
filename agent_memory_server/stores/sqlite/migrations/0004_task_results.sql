-- The report of work that succeeded: counts and ids as JSON.
ALTER TABLE tasks ADD COLUMN result TEXT;
