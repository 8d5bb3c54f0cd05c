-- An address with white space around it matches no mail's: the suppression would be there and never count. A trigger,
-- because a new CHECK would copy the table; what is in it already stays.
CREATE TRIGGER mail_suppressions_insert_address BEFORE INSERT ON mail_suppressions
WHEN NEW.address <> trim(NEW.address, char(9, 10, 11, 12, 13, 32, 160, 12288))
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: address has no white space around it');
END;
CREATE TRIGGER mail_suppressions_update_address BEFORE UPDATE OF address ON mail_suppressions
WHEN NEW.address <> trim(NEW.address, char(9, 10, 11, 12, 13, 32, 160, 12288))
BEGIN
    SELECT RAISE(ABORT, 'CHECK constraint failed: address has no white space around it');
END;
