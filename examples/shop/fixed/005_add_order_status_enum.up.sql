-- 005_add_order_status_enum.up.sql
-- Create enum type
CREATE TYPE order_status AS ENUM ('pending', 'processing', 'shipped', 'delivered', 'cancelled');

-- Migrate existing data. PostgreSQL does not convert the default along with the column (42804), so it is
-- dropped before and set again after
ALTER TABLE orders
  ALTER COLUMN status DROP DEFAULT;

ALTER TABLE orders
  ALTER COLUMN status TYPE order_status
  USING status::order_status;

ALTER TABLE orders
  ALTER COLUMN status SET DEFAULT 'pending';
