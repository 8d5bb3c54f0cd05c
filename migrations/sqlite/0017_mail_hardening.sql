-- What attacks on the mail queue have taught again. The PostgreSQL file of the same name has the same tables with the
-- same columns in the same order.

-- A column of ours to which somebody wrote a value that it cannot have hides no mail: such a mail is claimed, and fails by
-- name. A mail under suspicion is sent alone, within its priority.
DROP INDEX mails_due;
CREATE INDEX mails_due ON mails (priority, due_at, id)
    WHERE claimed_by IS NULL AND is_held <> TRUE AND take_overs <= 0 AND status IN ('QUEUED', 'RETRY', 'UNKNOWN');
DROP INDEX mails_suspect;
CREATE INDEX mails_suspect ON mails (priority, due_at, id)
    WHERE claimed_by IS NULL AND is_held <> TRUE AND take_overs > 0 AND status IN ('QUEUED', 'RETRY', 'UNKNOWN');

-- Mails that batchctl itself has put off, to find those that a wrong clock put off for ever.
CREATE INDEX mails_put_off ON mails (due_at)
    WHERE claimed_by IS NULL AND status IN ('QUEUED', 'RETRY', 'UNKNOWN') AND (is_paced OR status <> 'QUEUED');

-- One word for one thing: `mails.attempts` counts what this table lists.
ALTER TABLE mail_tries RENAME TO mail_attempts;
ALTER TABLE mail_attempts RENAME COLUMN tried_at TO attempted_at;
DROP INDEX mail_tries_mail;
DROP INDEX mail_tries_run;
CREATE INDEX mail_attempts_mail ON mail_attempts (mail_id);
CREATE INDEX mail_attempts_run ON mail_attempts (run_id);
