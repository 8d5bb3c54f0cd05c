-- Mails that the server did not take, for reasons that may not be theirs: it asked for less, or refused by policy. Since
-- when, in how many runs that got others through, and the run that was told so last. The SQLite file of the same name has
-- the same columns in the same order.
ALTER TABLE mails ADD COLUMN untaken_since TIMESTAMPTZ
    CONSTRAINT mails_untaken_since_is_in_calendar
    CHECK (untaken_since BETWEEN '0001-01-01T00:00:00Z' AND '9999-12-31T23:59:59.999999Z');
ALTER TABLE mails ADD COLUMN untaken_runs BIGINT NOT NULL DEFAULT 0;
ALTER TABLE mails ADD COLUMN untaken_by BIGINT;
CREATE INDEX mails_untaken ON mails (untaken_since)
    WHERE untaken_since IS NOT NULL AND NOT is_held AND status IN ('QUEUED', 'RETRY', 'UNKNOWN');
