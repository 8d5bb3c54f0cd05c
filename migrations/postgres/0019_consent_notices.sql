-- Notices that confirm consents to advertising. The SQLite file of the same name has the same table with the same columns
-- in the same order.

-- One row a consent and period: the notice named consented_day and was due on due_day. The next period counts from
-- counted_from_day, the later of due_day and the day of the notice. By the consent's key and not by its number: the row
-- proves that the notice was given, and other programs write consents anew.
CREATE TABLE consent_notices (
    mall_id BIGINT NOT NULL REFERENCES malls (id),
    member_code TEXT NOT NULL,
    purpose TEXT NOT NULL CHECK (purpose IN ('MARKETING', 'DIGEST')),
    consented_day DATE NOT NULL
        CONSTRAINT consent_notices_consented_day_is_in_calendar CHECK (consented_day BETWEEN '0001-01-01' AND '9999-12-31'),
    due_day DATE NOT NULL
        CONSTRAINT consent_notices_due_day_is_in_calendar CHECK (due_day BETWEEN '0001-01-01' AND '9999-12-31'),
    counted_from_day DATE NOT NULL
        CONSTRAINT consent_notices_counted_from_day_is_in_calendar
        CHECK (counted_from_day BETWEEN '0001-01-01' AND '9999-12-31'),
    created_at TIMESTAMPTZ NOT NULL
        CONSTRAINT consent_notices_created_at_is_in_calendar
        CHECK (created_at BETWEEN '0001-01-01T00:00:00Z' AND '9999-12-31T23:59:59.999999Z'),
    PRIMARY KEY (mall_id, member_code, purpose, counted_from_day)
);
