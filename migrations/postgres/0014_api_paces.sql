-- ---------------------------------------------------------------- api_paces

-- How far the calls to an API on behalf of an account have filled its rate, whichever processes make them: each call
-- moves it by its own time. In microseconds since 1970, so that one statement can add to it on both databases.
CREATE TABLE api_paces (
    platform TEXT NOT NULL,
    account TEXT NOT NULL,
    empty_at_us BIGINT NOT NULL,
    PRIMARY KEY (platform, account)
);
