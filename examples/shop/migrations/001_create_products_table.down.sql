-- Drop the table (this will also drop policies)
DROP TABLE IF EXISTS public.products CASCADE;
