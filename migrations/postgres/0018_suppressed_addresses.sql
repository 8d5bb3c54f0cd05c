-- An address with white space around it matches no mail's: the suppression would be there and never count. What is in the
-- table already stays.
ALTER TABLE mail_suppressions ADD CONSTRAINT mail_suppressions_address_is_trimmed
    CHECK (address !~ '^\s|\s$') NOT VALID;
