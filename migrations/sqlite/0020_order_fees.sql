-- What a shop charges an order besides its products and shipping: for payment on delivery, for wrapping. Part of
-- total_amount, like shipping and tax. The PostgreSQL file of the same name has the same column.
ALTER TABLE orders ADD COLUMN fee_amount INTEGER NOT NULL DEFAULT 0;
