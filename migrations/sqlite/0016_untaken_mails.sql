-- Mails that the server did not take, for reasons that may not be theirs: it asked for less, or refused by policy. Since
-- when, in how many runs that got others through, and the run that was told so last. The PostgreSQL file of the same name
-- has the same columns in the same order.
ALTER TABLE mails ADD COLUMN untaken_since TEXT;
ALTER TABLE mails ADD COLUMN untaken_runs INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mails ADD COLUMN untaken_by INTEGER;
CREATE INDEX mails_untaken ON mails (untaken_since)
    WHERE untaken_since IS NOT NULL AND NOT is_held AND status IN ('QUEUED', 'RETRY', 'UNKNOWN');
