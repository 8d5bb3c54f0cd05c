-- What `mall sync` needs to know of a mall and of its platform's API. The PostgreSQL file of the same name has the same
-- tables with the same columns in the same order.

-- ---------------------------------------------------------------- malls

-- The platform's own id of the shop; NULL is the mall's code. One account may have several shops.
ALTER TABLE malls ADD COLUMN account TEXT;
ALTER TABLE malls ADD COLUMN shop_no INTEGER NOT NULL DEFAULT 1;

-- ---------------------------------------------------------------- api_tokens

-- The OAuth tokens of an account, each encrypted for its own place (platform, account, column). version grows with
-- every new pair: a refresh token is good for one use, and who finds another version than it read has been overtaken.
-- claimed_by and claimed_until say who is refreshing just now; rejected_at that nobody can, until new tokens come.
CREATE TABLE api_tokens (
    platform TEXT NOT NULL,
    account TEXT NOT NULL,
    access_token TEXT NOT NULL,
    refresh_token TEXT NOT NULL,
    access_expires_at TEXT NOT NULL,
    refresh_expires_at TEXT NOT NULL,
    scopes TEXT NOT NULL,
    version INTEGER NOT NULL,
    issued_at TEXT NOT NULL,
    claimed_by TEXT,
    claimed_until TEXT,
    rejected_at TEXT,
    rejected_reason TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (platform, account)
) STRICT;

-- ---------------------------------------------------------------- api_blocks

-- Until when an API wants no call of an account: calling earlier makes it longer, in whichever process.
CREATE TABLE api_blocks (
    platform TEXT NOT NULL,
    account TEXT NOT NULL,
    blocked_until TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (platform, account)
) STRICT;
