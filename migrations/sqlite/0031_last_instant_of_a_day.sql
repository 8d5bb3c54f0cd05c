-- The last half millisecond of a day belongs to it: SQLite's DATE rounds it up to the next day, so that such a time was taken
-- for one that does not exist. These are the indexes of 0015 and 0019, with the condition that src/db/mod.rs has now.
DROP INDEX orders_misdated;
CREATE INDEX orders_misdated ON orders (mall_id)
    WHERE NOT CASE (ordered_at GLOB '????-??-??T??:??:??*+00:00' OR ordered_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(SUBSTR(ordered_at, 1, 19), '+0 days') = SUBSTR(ordered_at, 1, 10) AND DATE(ordered_at) > '', FALSE) AND LENGTH(CAST(ordered_at AS BLOB)) = LENGTH(ordered_at) WHEN FALSE THEN FALSE ELSE TRUE END
       OR NOT CASE (paid_at GLOB '????-??-??T??:??:??*+00:00' OR paid_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(SUBSTR(paid_at, 1, 19), '+0 days') = SUBSTR(paid_at, 1, 10) AND DATE(paid_at) > '', FALSE) AND LENGTH(CAST(paid_at AS BLOB)) = LENGTH(paid_at) WHEN FALSE THEN FALSE ELSE TRUE END
       OR NOT CASE (cancelled_at GLOB '????-??-??T??:??:??*+00:00' OR cancelled_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(SUBSTR(cancelled_at, 1, 19), '+0 days') = SUBSTR(cancelled_at, 1, 10) AND DATE(cancelled_at) > '', FALSE) AND LENGTH(CAST(cancelled_at AS BLOB)) = LENGTH(cancelled_at) WHEN FALSE THEN FALSE ELSE TRUE END;
DROP INDEX refunds_misdated;
CREATE INDEX refunds_misdated ON refunds (mall_id)
    WHERE NOT CASE (refunded_at GLOB '????-??-??T??:??:??*+00:00' OR refunded_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(SUBSTR(refunded_at, 1, 19), '+0 days') = SUBSTR(refunded_at, 1, 10) AND DATE(refunded_at) > '', FALSE) AND LENGTH(CAST(refunded_at AS BLOB)) = LENGTH(refunded_at) WHEN FALSE THEN FALSE ELSE TRUE END;
DROP INDEX members_misdated;
CREATE INDEX members_misdated ON members (mall_id)
    WHERE NOT CASE (signed_up_at GLOB '????-??-??T??:??:??*+00:00' OR signed_up_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(SUBSTR(signed_up_at, 1, 19), '+0 days') = SUBSTR(signed_up_at, 1, 10) AND DATE(signed_up_at) > '', FALSE) AND LENGTH(CAST(signed_up_at AS BLOB)) = LENGTH(signed_up_at) WHEN FALSE THEN FALSE ELSE TRUE END
       OR NOT CASE (confirmed_at GLOB '????-??-??T??:??:??*+00:00' OR confirmed_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(SUBSTR(confirmed_at, 1, 19), '+0 days') = SUBSTR(confirmed_at, 1, 10) AND DATE(confirmed_at) > '', FALSE) AND LENGTH(CAST(confirmed_at AS BLOB)) = LENGTH(confirmed_at) WHEN FALSE THEN FALSE ELSE TRUE END
       OR NOT CASE (withdrawn_at GLOB '????-??-??T??:??:??*+00:00' OR withdrawn_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(SUBSTR(withdrawn_at, 1, 19), '+0 days') = SUBSTR(withdrawn_at, 1, 10) AND DATE(withdrawn_at) > '', FALSE) AND LENGTH(CAST(withdrawn_at AS BLOB)) = LENGTH(withdrawn_at) WHEN FALSE THEN FALSE ELSE TRUE END;
DROP INDEX carts_misdated;
CREATE INDEX carts_misdated ON carts (mall_id)
    WHERE NOT CASE (last_activity_at GLOB '????-??-??T??:??:??*+00:00' OR last_activity_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(SUBSTR(last_activity_at, 1, 19), '+0 days') = SUBSTR(last_activity_at, 1, 10) AND DATE(last_activity_at) > '', FALSE) AND LENGTH(CAST(last_activity_at AS BLOB)) = LENGTH(last_activity_at) WHEN FALSE THEN FALSE ELSE TRUE END;
DROP INDEX articles_misdated;
CREATE INDEX articles_misdated ON articles (mall_id)
    WHERE NOT CASE (published_at GLOB '????-??-??T??:??:??*+00:00' OR published_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(SUBSTR(published_at, 1, 19), '+0 days') = SUBSTR(published_at, 1, 10) AND DATE(published_at) > '', FALSE) AND LENGTH(CAST(published_at AS BLOB)) = LENGTH(published_at) WHEN FALSE THEN FALSE ELSE TRUE END;
DROP INDEX mail_consents_misdated;
CREATE INDEX mail_consents_misdated ON mail_consents (mall_id)
    WHERE NOT CASE (source_updated_at GLOB '????-??-??T??:??:??*+00:00' OR source_updated_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(SUBSTR(source_updated_at, 1, 19), '+0 days') = SUBSTR(source_updated_at, 1, 10) AND DATE(source_updated_at) > '', FALSE) AND LENGTH(CAST(source_updated_at AS BLOB)) = LENGTH(source_updated_at) WHEN FALSE THEN FALSE ELSE TRUE END
       OR NOT CASE (created_at GLOB '????-??-??T??:??:??*+00:00' OR created_at GLOB '????-??-??T??:??:??*Z') WHEN TRUE THEN COALESCE(DATE(SUBSTR(created_at, 1, 19), '+0 days') = SUBSTR(created_at, 1, 10) AND DATE(created_at) > '', FALSE) AND LENGTH(CAST(created_at AS BLOB)) = LENGTH(created_at) WHEN FALSE THEN FALSE ELSE TRUE END;
