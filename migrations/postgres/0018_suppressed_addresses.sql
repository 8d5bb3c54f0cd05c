-- An address with white space around it matches no mail's: the suppression would be there and never count. What is in the
-- table already stays.
ALTER TABLE mail_suppressions ADD CONSTRAINT mail_suppressions_address_is_trimmed
    CHECK (address = btrim(address, E'\t\n\x0B\f\r \u00A0\u3000')) NOT VALID;
