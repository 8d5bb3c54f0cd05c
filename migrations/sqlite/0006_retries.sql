-- What the runner needs to retry by itself what failed for a cause that passes. The PostgreSQL file of the same name has
-- the same columns in the same order.

-- A person's request is due at once and has no attempt. The runner's own falls due after a pause; attempt is the number of
-- the retry, from 1.
ALTER TABLE batch_retry_request ADD COLUMN due_at TEXT;
ALTER TABLE batch_retry_request ADD COLUMN attempt INTEGER CHECK (attempt > 0);
CREATE INDEX batch_retry_request_execution ON batch_retry_request (execution_id);

-- A failure that nobody will repeat: who said so, when, and why.
ALTER TABLE batch_execution ADD COLUMN dismissed_at TEXT;
ALTER TABLE batch_execution ADD COLUMN dismissed_by TEXT;
ALTER TABLE batch_execution ADD COLUMN dismissed_reason TEXT;
CREATE INDEX batch_execution_retry ON batch_execution (retry_of) WHERE retry_of IS NOT NULL;
