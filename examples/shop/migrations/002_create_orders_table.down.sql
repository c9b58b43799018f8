-- 002_create_orders_table.down.sql
DROP TABLE IF EXISTS public.orders CASCADE;
