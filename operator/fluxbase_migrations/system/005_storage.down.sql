-- Undoes 005. What the object store holds stays there.

DROP TABLE storage.objects;
DROP FUNCTION storage.check_object();
DROP FUNCTION storage.foldername(text);
DROP FUNCTION storage.is_public(text);
DROP TABLE storage.buckets;
DROP SCHEMA storage;
