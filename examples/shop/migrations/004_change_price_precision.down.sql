-- 004_change_price_precision.down.sql
-- Back to DECIMAL(10,2): prices are rounded to two places, and one of 10^8 or more is an error
ALTER TABLE public.products
  ALTER COLUMN price TYPE DECIMAL(10,2);
