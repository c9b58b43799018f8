-- 005_add_order_status_enum.up.sql
-- Create enum type
CREATE TYPE order_status AS ENUM ('pending', 'processing', 'shipped', 'delivered', 'cancelled');

-- Migrate existing data
ALTER TABLE orders
  ALTER COLUMN status TYPE order_status
  USING status::order_status;
