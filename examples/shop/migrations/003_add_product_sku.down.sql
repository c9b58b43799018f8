-- 003_add_product_sku.down.sql
-- Not CONCURRENTLY: dropping the column locks the table anyway
DROP INDEX IF EXISTS idx_products_sku;

ALTER TABLE public.products
  DROP COLUMN IF EXISTS sku;
