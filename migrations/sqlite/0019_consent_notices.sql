-- Notices that confirm consents to advertising. The PostgreSQL file of the same name has the same table with the same
-- columns in the same order.

-- One row a consent and period: the notice named consented_day and was due on due_day. The next period counts from
-- counted_from_day, the later of due_day and the day of the notice. By the consent's key and not by its number: the row
-- proves that the notice was given, and other programs write consents anew.
CREATE TABLE consent_notices (
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    member_code TEXT NOT NULL,
    purpose TEXT NOT NULL CHECK (purpose IN ('MARKETING', 'DIGEST')),
    consented_day TEXT NOT NULL CHECK (consented_day IS DATE(consented_day, '+0 days')),
    due_day TEXT NOT NULL CHECK (due_day IS DATE(due_day, '+0 days')),
    counted_from_day TEXT NOT NULL CHECK (counted_from_day IS DATE(counted_from_day, '+0 days')),
    created_at TEXT NOT NULL CHECK (
        created_at GLOB '????-??-??T??:??:??*+00:00' AND SUBSTR(created_at, 1, 10) IS DATE(created_at, '+0 days')),
    PRIMARY KEY (mall_id, member_code, purpose, counted_from_day)
) STRICT;

-- Consents without a proper time, as the indexes of 0015 for other tables.
CREATE INDEX mail_consents_misdated ON mail_consents (mall_id)
    WHERE NOT CASE (source_updated_at GLOB '????-??-??T??:??:??*+00:00' OR source_updated_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(source_updated_at, '+0 days') = SUBSTR(source_updated_at, 1, 10), FALSE) AND LENGTH(CAST(source_updated_at AS BLOB)) = LENGTH(source_updated_at) WHEN FALSE THEN FALSE ELSE TRUE END
       OR NOT CASE (created_at GLOB '????-??-??T??:??:??*+00:00' OR created_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(created_at, '+0 days') = SUBSTR(created_at, 1, 10), FALSE) AND LENGTH(CAST(created_at AS BLOB)) = LENGTH(created_at) WHEN FALSE THEN FALSE ELSE TRUE END;
