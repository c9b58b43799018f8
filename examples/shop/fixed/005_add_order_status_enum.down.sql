-- 005_add_order_status_enum.down.sql
ALTER TABLE orders
  ALTER COLUMN status DROP DEFAULT;

ALTER TABLE orders
  ALTER COLUMN status TYPE TEXT
  USING status::TEXT;

ALTER TABLE orders
  ALTER COLUMN status SET DEFAULT 'pending';

DROP TYPE IF EXISTS order_status;
