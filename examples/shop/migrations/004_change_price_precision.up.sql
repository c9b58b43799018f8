-- 004_change_price_precision.up.sql
-- Increase price precision from DECIMAL(10,2) to DECIMAL(12,4)
ALTER TABLE public.products
  ALTER COLUMN price TYPE DECIMAL(12,4);
