-- Storage: what is known about files. Their content is elsewhere, in the object store.

CREATE SCHEMA storage;
COMMENT ON SCHEMA storage IS 'Fluxbase: buckets and what is in them';
GRANT USAGE ON SCHEMA storage TO anon, authenticated, service_role;

CREATE TABLE storage.buckets (
    id                 text        PRIMARY KEY
                                   CONSTRAINT buckets_id_form CHECK (id ~ '^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$'),
    public             boolean     NOT NULL DEFAULT false,
    file_size_limit    bigint      CONSTRAINT buckets_file_size_limit_range CHECK (file_size_limit > 0),
    allowed_mime_types text[],
    owner_id           uuid        REFERENCES auth.app_users (id) ON DELETE SET NULL,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE storage.buckets IS 'Named collections of files';
COMMENT ON COLUMN storage.buckets.public IS 'Whether anybody may read what is in it';
COMMENT ON COLUMN storage.buckets.file_size_limit IS 'In bytes; null: no limit of its own';
COMMENT ON COLUMN storage.buckets.allowed_mime_types IS 'Null: any';
CREATE INDEX buckets_owner_id_idx ON storage.buckets (owner_id);
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON storage.buckets
    FOR EACH ROW EXECUTE FUNCTION auth.touch_updated_at();

-- A bucket with files in it cannot be deleted: their content would stay behind in the object store, unknown.
CREATE TABLE storage.objects (
    id               uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    bucket_id        text        NOT NULL REFERENCES storage.buckets (id) ON UPDATE CASCADE ON DELETE RESTRICT,
    path             text        COLLATE "C" NOT NULL
                                 CONSTRAINT objects_path_form
                                 CHECK (octet_length(path) BETWEEN 1 AND 1024 AND path !~ '(^|/)\.{0,2}(/|$)'
                                        AND path !~ '[[:cntrl:]]'),
    owner_id         uuid        REFERENCES auth.app_users (id) ON DELETE SET NULL,
    size_bytes       bigint      NOT NULL CONSTRAINT objects_size_range CHECK (size_bytes >= 0),
    mime_type        text        NOT NULL DEFAULT 'application/octet-stream'
                                 CONSTRAINT objects_mime_type_form CHECK (mime_type ~ '^[^[:space:]/]+/[^[:space:]/]+$'),
    checksum_sha256  bytea       CONSTRAINT objects_checksum_length CHECK (octet_length(checksum_sha256) = 32),
    metadata         jsonb       NOT NULL DEFAULT '{}'
                                 CONSTRAINT objects_metadata_object
                                 CHECK (jsonb_typeof(metadata) = 'object' AND octet_length(metadata::text) <= 65536),
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    last_accessed_at timestamptz,
    name             text        COLLATE "C" GENERATED ALWAYS AS (path) STORED,
    CONSTRAINT objects_bucket_path_key UNIQUE (bucket_id, path)
);
COMMENT ON TABLE storage.objects IS 'Files, without their content';
COMMENT ON COLUMN storage.objects.path IS
    'Within the bucket, up to 1024 bytes; no empty segment, "." or "..", no control character';
COMMENT ON COLUMN storage.objects.name IS 'The path, by the name that Fluxbase''s own schema has for it';
-- A folder is listed with path ^@ 'folder/'. Unlike LIKE it is leakproof, so that it can be looked up in an index
-- although row-level security applies. Since PostgreSQL 15 the unique key serves it, the collation being "C".
DO $$
BEGIN
    IF current_setting('server_version_num')::integer < 150000 THEN
        CREATE INDEX objects_prefix_idx ON storage.objects USING spgist (path);
    END IF;
END
$$;
CREATE INDEX objects_owner_id_idx ON storage.objects (owner_id);
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON storage.objects
    FOR EACH ROW EXECUTE FUNCTION auth.touch_updated_at();

-- A policy's own query is subject to policies too. This one answers a single question about a bucket that the
-- caller may not be able to see, as its owner.
CREATE FUNCTION storage.is_public(bucket text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT coalesce((SELECT b.public FROM storage.buckets AS b WHERE b.id = bucket), false)
$$;
COMMENT ON FUNCTION storage.is_public(text) IS 'Whether anybody may read the files of a bucket; false if there is none';
REVOKE EXECUTE ON FUNCTION storage.is_public(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION storage.is_public(text) TO anon, authenticated, service_role;

CREATE FUNCTION storage.foldername(name text) RETURNS text[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (string_to_array(name, '/'))[1:cardinality(string_to_array(name, '/')) - 1];
COMMENT ON FUNCTION storage.foldername(text) IS 'The folders that a path leads through: {a,b} for a/b/c.png';
GRANT EXECUTE ON FUNCTION storage.foldername(text) TO PUBLIC;

-- Whoever uploads may not be able to see the bucket; this looks at it as its owner.
CREATE FUNCTION storage.check_object() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    bucket storage.buckets;
BEGIN
    SELECT * INTO bucket FROM storage.buckets AS b WHERE b.id = NEW.bucket_id;
    IF NEW.size_bytes > bucket.file_size_limit THEN
        RAISE EXCEPTION 'the file has % bytes, bucket "%" takes up to %',
                        NEW.size_bytes, NEW.bucket_id, bucket.file_size_limit
            USING ERRCODE = 'check_violation', SCHEMA = 'storage', TABLE = 'objects', COLUMN = 'size_bytes';
    END IF;
    IF NEW.mime_type <> ALL (bucket.allowed_mime_types) THEN
        RAISE EXCEPTION 'bucket "%" takes no files of type %', NEW.bucket_id, NEW.mime_type
            USING ERRCODE = 'check_violation', SCHEMA = 'storage', TABLE = 'objects', COLUMN = 'mime_type';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION storage.check_object() IS 'Trigger: holds a bucket''s limits';
REVOKE EXECUTE ON FUNCTION storage.check_object() FROM PUBLIC;
CREATE TRIGGER check_object BEFORE INSERT OR UPDATE OF bucket_id, size_bytes, mime_type ON storage.objects
    FOR EACH ROW EXECUTE FUNCTION storage.check_object();


-- Privileges and policies. Reading follows from public and owner. Who may upload, replace or delete what is the
-- application's decision: it adds policies of its own to storage.objects, and without them only the service may.

ALTER TABLE storage.buckets ENABLE ROW LEVEL SECURITY;
ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY;

GRANT SELECT, INSERT, UPDATE, DELETE ON storage.buckets, storage.objects TO service_role;
-- A stranger gets what a listing needs, not whose a file is or what was noted about it.
GRANT SELECT (id, public) ON storage.buckets TO anon;
GRANT SELECT (id, bucket_id, path, name, size_bytes, mime_type, created_at, updated_at) ON storage.objects TO anon;
GRANT SELECT ON storage.buckets TO authenticated;
GRANT SELECT, DELETE ON storage.objects TO authenticated;
GRANT INSERT (id, bucket_id, path, owner_id, size_bytes, mime_type, checksum_sha256, metadata)
    ON storage.objects TO authenticated;
-- What a file is and where stays as it was uploaded, whatever policy the application makes: the content is in the
-- object store under that name, and the policies rest on it. Moving and replacing are the service's.
GRANT UPDATE (metadata, last_accessed_at) ON storage.objects TO authenticated;

CREATE POLICY "Anybody can see public buckets"
    ON storage.buckets FOR SELECT TO anon, authenticated
    USING (public);

CREATE POLICY "Owners can see their buckets"
    ON storage.buckets FOR SELECT TO authenticated
    USING (owner_id = (SELECT auth.uid()));

CREATE POLICY "The service manages buckets"
    ON storage.buckets FOR ALL TO service_role
    USING (true) WITH CHECK (true);

CREATE POLICY "Anybody can see what is in public buckets"
    ON storage.objects FOR SELECT TO anon, authenticated
    USING (storage.is_public(bucket_id));

CREATE POLICY "Owners can see their files"
    ON storage.objects FOR SELECT TO authenticated
    USING (owner_id = (SELECT auth.uid()));

CREATE POLICY "The service manages files"
    ON storage.objects FOR ALL TO service_role
    USING (true) WITH CHECK (true);
