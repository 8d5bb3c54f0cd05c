-- What attacks on the mail queue have taught. The PostgreSQL file of the same name has the same tables with the same
-- columns in the same order.

-- A time has to exist. The CHECKs of due_at and queued_at compare with what SQLite reads, and the SQLite of many another
-- program reads February 30 and 24:00; these triggers compare with the instant that it is, by functions that old versions
-- have too. They are triggers, because a new CHECK would copy the table. A text with a NUL looks shorter than it is.
CREATE TRIGGER mails_insert_times BEFORE INSERT ON mails
WHEN substr(NEW.due_at, 1, 19) IS NOT strftime('%Y-%m-%dT%H:%M:%S', CAST(strftime('%s', substr(NEW.due_at, 1, 19)) AS INTEGER), 'unixepoch')
  OR substr(NEW.queued_at, 1, 19) IS NOT strftime('%Y-%m-%dT%H:%M:%S', CAST(strftime('%s', substr(NEW.queued_at, 1, 19)) AS INTEGER), 'unixepoch')
  OR length(CAST(NEW.due_at AS BLOB)) <> length(NEW.due_at) OR length(CAST(NEW.queued_at AS BLOB)) <> length(NEW.queued_at)
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: due_at and queued_at are times that exist, like 2026-11-20T10:00:00+00:00');
END;
-- Only what changes: a row that was there before can still be sent, given up on and corrected.
CREATE TRIGGER mails_update_due_at BEFORE UPDATE OF due_at ON mails
WHEN NEW.due_at IS NOT OLD.due_at
 AND (substr(NEW.due_at, 1, 19) IS NOT strftime('%Y-%m-%dT%H:%M:%S', CAST(strftime('%s', substr(NEW.due_at, 1, 19)) AS INTEGER), 'unixepoch')
      OR length(CAST(NEW.due_at AS BLOB)) <> length(NEW.due_at))
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: due_at is a time that exists, like 2026-11-20T10:00:00+00:00');
END;
CREATE TRIGGER mails_update_queued_at BEFORE UPDATE OF queued_at ON mails
WHEN NEW.queued_at IS NOT OLD.queued_at
 AND (substr(NEW.queued_at, 1, 19) IS NOT strftime('%Y-%m-%dT%H:%M:%S', CAST(strftime('%s', substr(NEW.queued_at, 1, 19)) AS INTEGER), 'unixepoch')
      OR length(CAST(NEW.queued_at AS BLOB)) <> length(NEW.queued_at))
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: queued_at is a time that exists, like 2026-11-20T10:00:00+00:00');
END;

-- How many runs died while they held the mail. One that is under suspicion is sent alone, after all others.
ALTER TABLE mails ADD COLUMN take_overs INTEGER NOT NULL DEFAULT 0;
DROP INDEX mails_due;
CREATE INDEX mails_due ON mails (priority, due_at, id)
    WHERE claimed_by IS NULL AND NOT is_held AND take_overs = 0 AND status IN ('QUEUED', 'RETRY', 'UNKNOWN');
CREATE INDEX mails_suspect ON mails (priority, due_at, id)
    WHERE claimed_by IS NULL AND NOT is_held AND take_overs > 0 AND status IN ('QUEUED', 'RETRY', 'UNKNOWN');

-- Addresses that get nothing (ALL), or nothing but what they have to know (MARKETING). In lower case. Each reason is a row
-- of its own: an unsubscription counts beside a bounce, and outlives it.
-- run_id is the run of `mail flush` that the address bounced in. While is_held is set, a suppression is not in force: so
-- many addresses bounced in that run that a person has to decide whether to believe it.
CREATE TABLE mail_suppressions_by_reason (
    address TEXT NOT NULL CHECK (address = LOWER(address)),
    scope TEXT NOT NULL DEFAULT 'ALL' CHECK (scope IN ('ALL', 'MARKETING')),
    reason TEXT NOT NULL CHECK (reason IN ('BOUNCE', 'COMPLAINT', 'UNSUBSCRIBE', 'MANUAL')),
    detail TEXT,
    mail_id INTEGER,
    created_at TEXT NOT NULL,
    run_id INTEGER,
    is_held INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (address, reason)
) STRICT;
INSERT INTO mail_suppressions_by_reason (address, scope, reason, detail, mail_id, created_at)
SELECT address, scope, reason, detail, mail_id, created_at FROM mail_suppressions;
DROP TABLE mail_suppressions;
ALTER TABLE mail_suppressions_by_reason RENAME TO mail_suppressions;
CREATE INDEX mail_suppressions_run ON mail_suppressions (run_id) WHERE run_id IS NOT NULL;

-- How many recipients each run of `mail flush` wrote to, and how many of them do not exist: what a share is compared with.
-- is_tripped: the run stopped, because the share was too high to be true.
CREATE TABLE mail_bounce_counts (
    run_id INTEGER PRIMARY KEY,
    recipients INTEGER NOT NULL,
    bounced INTEGER NOT NULL,
    is_tripped INTEGER NOT NULL,
    counted_at TEXT NOT NULL
) STRICT;
CREATE INDEX mail_bounce_counts_time ON mail_bounce_counts (counted_at);

-- Each try to send a mail, with the state that it led to and the server's reply.
CREATE TABLE mail_tries (
    id INTEGER PRIMARY KEY,
    mail_id INTEGER NOT NULL REFERENCES mails (id) ON DELETE CASCADE,
    run_id INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('SENT', 'RETRY', 'UNKNOWN', 'FAILED')),
    reply TEXT,
    tried_at TEXT NOT NULL
) STRICT;
CREATE INDEX mail_tries_mail ON mail_tries (mail_id);
CREATE INDEX mail_tries_run ON mail_tries (run_id);
