-- The mail queue. The PostgreSQL file of the same name has the same tables with the same columns in the same order.
-- `mails` is an interface: any program may insert into it (docs/mail.md says what and how).

-- A mail is rendered (subject with text_body, html_body or both) or names a template by its kind with the template's
-- values as JSON in data, and is rendered when it is sent.
-- Three priorities: 1 urgent, 2 usual, 3 bulk. due_at is when it may be sent at the earliest, and later the next try.
-- claimed_by is the run that holds it; SENDING is written before the server could have it.
-- Times are compared as text: any other form than 2026-11-20T10:00:00+00:00 would be due too early or never.
CREATE TABLE mails (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    category TEXT NOT NULL DEFAULT 'TRANSACTIONAL' CHECK (category IN ('TRANSACTIONAL', 'MARKETING')),
    locale TEXT,
    mall_id INTEGER,
    member_code TEXT,
    sender TEXT,
    recipient TEXT NOT NULL,
    reply_to TEXT,
    subject TEXT,
    text_body TEXT,
    html_body TEXT,
    data TEXT,
    headers TEXT,
    priority INTEGER NOT NULL DEFAULT 2 CHECK (priority BETWEEN 1 AND 3),
    due_at TEXT NOT NULL CHECK (
        substr(due_at, 1, 19) IS strftime('%Y-%m-%dT%H:%M:%S', substr(due_at, 1, 19)) AND substr(due_at, -6) = '+00:00'
        AND (length(due_at) = 25 OR (length(due_at) BETWEEN 27 AND 35 AND substr(due_at, 20, 1) = '.'
                                       AND substr(due_at, 21, length(due_at) - 26) NOT GLOB '*[^0-9]*'))),
    queued_at TEXT NOT NULL CHECK (
        substr(queued_at, 1, 19) IS strftime('%Y-%m-%dT%H:%M:%S', substr(queued_at, 1, 19)) AND substr(queued_at, -6) = '+00:00'
        AND (length(queued_at) = 25 OR (length(queued_at) BETWEEN 27 AND 35 AND substr(queued_at, 20, 1) = '.'
                                       AND substr(queued_at, 21, length(queued_at) - 26) NOT GLOB '*[^0-9]*'))),
    dedup_key TEXT,
    status TEXT NOT NULL DEFAULT 'QUEUED' CHECK (status IN ('QUEUED', 'SENDING', 'SENT', 'RETRY', 'UNKNOWN', 'FAILED', 'CANCELLED')),
    is_held INTEGER NOT NULL DEFAULT 0,
    is_paced INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    unknown_attempts INTEGER NOT NULL DEFAULT 0,
    claimed_by INTEGER,
    message_id TEXT,
    provider_message_id TEXT,
    last_reply TEXT,
    ended_at TEXT,
    CHECK (data IS NOT NULL OR (subject IS NOT NULL AND (text_body IS NOT NULL OR html_body IS NOT NULL)))
) STRICT;
CREATE INDEX mails_due ON mails (priority, due_at, id)
    WHERE claimed_by IS NULL AND NOT is_held AND status IN ('QUEUED', 'RETRY', 'UNKNOWN');
CREATE INDEX mails_claimed ON mails (claimed_by) WHERE claimed_by IS NOT NULL;
-- What an operator looks for is rare among what was sent.
CREATE INDEX mails_unsettled ON mails (status, id) WHERE status IN ('RETRY', 'UNKNOWN', 'FAILED', 'CANCELLED');
CREATE UNIQUE INDEX mails_dedup ON mails (dedup_key) WHERE dedup_key IS NOT NULL;

-- Files of a mail. content_id is set for a picture inside the HTML (`<img src="cid:…">`).
CREATE TABLE mail_attachments (
    id INTEGER PRIMARY KEY,
    mail_id INTEGER NOT NULL REFERENCES mails (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    content_type TEXT NOT NULL,
    content_id TEXT,
    content BLOB
) STRICT;
CREATE INDEX mail_attachments_mail ON mail_attachments (mail_id);

-- Addresses that get nothing (ALL), or nothing but what they have to know (MARKETING). In lower case.
CREATE TABLE mail_suppressions (
    address TEXT PRIMARY KEY CHECK (address = LOWER(address)),
    scope TEXT NOT NULL DEFAULT 'ALL' CHECK (scope IN ('ALL', 'MARKETING')),
    reason TEXT NOT NULL CHECK (reason IN ('BOUNCE', 'COMPLAINT', 'UNSUBSCRIBE', 'MANUAL')),
    detail TEXT,
    mail_id INTEGER,
    created_at TEXT NOT NULL
) STRICT;

-- What a member agreed to, or took back. No row: nothing is known.
CREATE TABLE mail_consents (
    id INTEGER PRIMARY KEY,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    member_code TEXT NOT NULL,
    purpose TEXT NOT NULL CHECK (purpose IN ('MARKETING', 'DIGEST')),
    is_granted INTEGER NOT NULL,
    source_updated_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (mall_id, member_code, purpose)
) STRICT;

-- When the next mail of a bucket (all, or a recipient's domain) may go, and until when those behind it were sent back:
-- shared by every process that sends.
CREATE TABLE mail_pace (
    bucket TEXT PRIMARY KEY,
    next_at TEXT NOT NULL,
    deferred_until TEXT NOT NULL
) STRICT;
