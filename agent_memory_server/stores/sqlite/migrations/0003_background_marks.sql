-- Every message up to this sequence was extracted from: where the search for others begins.
ALTER TABLE sessions ADD COLUMN extracted_through INTEGER NOT NULL DEFAULT 0;
-- Tokens of the live messages: whether the session has to be summarised is known without reading them.
ALTER TABLE sessions ADD COLUMN live_tokens INTEGER NOT NULL DEFAULT 0;
