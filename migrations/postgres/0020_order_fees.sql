-- What a shop charges an order besides its products and shipping: for payment on delivery, for wrapping. Part of
-- total_amount, like shipping and tax. The SQLite file of the same name has the same column.
ALTER TABLE orders ADD COLUMN fee_amount BIGINT NOT NULL DEFAULT 0;
