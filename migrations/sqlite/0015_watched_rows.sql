-- Rows without a proper time. A time is a text here, and any program can have written any text: `2026-02-30T…`, `garbage`,
-- a time in another form. A query for a day compares texts, so such a row falls into no day, or into the wrong one. These
-- indexes hold just such rows, those from before included, and are empty otherwise: a job asks them, and says what it
-- found instead of leaving it out (`src/shop/times.rs`, whose conditions these are, word for word). A trigger would refuse
-- the next one, and say nothing of those that are there; a CHECK would copy each table.
-- The functions are those that every SQLite has. `+0 days` has a day that no month has become another one.
CREATE INDEX orders_misdated ON orders (mall_id)
    WHERE NOT CASE (ordered_at GLOB '????-??-??T??:??:??*+00:00' OR ordered_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(ordered_at, '+0 days') = SUBSTR(ordered_at, 1, 10), FALSE) AND LENGTH(CAST(ordered_at AS BLOB)) = LENGTH(ordered_at) WHEN FALSE THEN FALSE ELSE TRUE END
       OR NOT CASE (paid_at GLOB '????-??-??T??:??:??*+00:00' OR paid_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(paid_at, '+0 days') = SUBSTR(paid_at, 1, 10), FALSE) AND LENGTH(CAST(paid_at AS BLOB)) = LENGTH(paid_at) WHEN FALSE THEN FALSE ELSE TRUE END
       OR NOT CASE (cancelled_at GLOB '????-??-??T??:??:??*+00:00' OR cancelled_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(cancelled_at, '+0 days') = SUBSTR(cancelled_at, 1, 10), FALSE) AND LENGTH(CAST(cancelled_at AS BLOB)) = LENGTH(cancelled_at) WHEN FALSE THEN FALSE ELSE TRUE END;
CREATE INDEX refunds_misdated ON refunds (mall_id)
    WHERE NOT CASE (refunded_at GLOB '????-??-??T??:??:??*+00:00' OR refunded_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(refunded_at, '+0 days') = SUBSTR(refunded_at, 1, 10), FALSE) AND LENGTH(CAST(refunded_at AS BLOB)) = LENGTH(refunded_at) WHEN FALSE THEN FALSE ELSE TRUE END;
CREATE INDEX members_misdated ON members (mall_id)
    WHERE NOT CASE (signed_up_at GLOB '????-??-??T??:??:??*+00:00' OR signed_up_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(signed_up_at, '+0 days') = SUBSTR(signed_up_at, 1, 10), FALSE) AND LENGTH(CAST(signed_up_at AS BLOB)) = LENGTH(signed_up_at) WHEN FALSE THEN FALSE ELSE TRUE END
       OR NOT CASE (confirmed_at GLOB '????-??-??T??:??:??*+00:00' OR confirmed_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(confirmed_at, '+0 days') = SUBSTR(confirmed_at, 1, 10), FALSE) AND LENGTH(CAST(confirmed_at AS BLOB)) = LENGTH(confirmed_at) WHEN FALSE THEN FALSE ELSE TRUE END
       OR NOT CASE (withdrawn_at GLOB '????-??-??T??:??:??*+00:00' OR withdrawn_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(withdrawn_at, '+0 days') = SUBSTR(withdrawn_at, 1, 10), FALSE) AND LENGTH(CAST(withdrawn_at AS BLOB)) = LENGTH(withdrawn_at) WHEN FALSE THEN FALSE ELSE TRUE END;
CREATE INDEX carts_misdated ON carts (mall_id)
    WHERE NOT CASE (last_activity_at GLOB '????-??-??T??:??:??*+00:00' OR last_activity_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(last_activity_at, '+0 days') = SUBSTR(last_activity_at, 1, 10), FALSE) AND LENGTH(CAST(last_activity_at AS BLOB)) = LENGTH(last_activity_at) WHEN FALSE THEN FALSE ELSE TRUE END;
CREATE INDEX subscriptions_misdated ON subscriptions (mall_id)
    WHERE NOT CASE next_charge_day GLOB '????-??-??' WHEN TRUE THEN COALESCE(DATE(next_charge_day, '+0 days') = next_charge_day, FALSE) WHEN FALSE THEN FALSE ELSE TRUE END;
CREATE INDEX articles_misdated ON articles (mall_id)
    WHERE NOT CASE (published_at GLOB '????-??-??T??:??:??*+00:00' OR published_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(published_at, '+0 days') = SUBSTR(published_at, 1, 10), FALSE) AND LENGTH(CAST(published_at AS BLOB)) = LENGTH(published_at) WHEN FALSE THEN FALSE ELSE TRUE END;

-- Mails whose texts are larger than any that is sent. To change a row, SQLite reads and writes all of it, hundreds of
-- megabytes of text included: `mail flush` does not touch such a mail, and finds it here.
CREATE INDEX mails_oversized ON mails (id)
    WHERE COALESCE(LENGTH(CAST(subject AS BLOB)), 0) + COALESCE(LENGTH(CAST(text_body AS BLOB)), 0)
        + COALESCE(LENGTH(CAST(html_body AS BLOB)), 0) + COALESCE(LENGTH(CAST(data AS BLOB)), 0) > 50331648;
