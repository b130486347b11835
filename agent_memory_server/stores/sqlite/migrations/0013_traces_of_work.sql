-- The request that asked for the work, as its W3C traceparent: whoever does it goes on with that trace.
ALTER TABLE outbox ADD COLUMN traceparent TEXT;
