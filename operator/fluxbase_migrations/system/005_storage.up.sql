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
    path             text        NOT NULL
                                 CONSTRAINT objects_path_form
                                 CHECK (length(path) BETWEEN 1 AND 1024 AND path !~ '(^|/)\.{0,2}(/|$)'),
    owner_id         uuid        REFERENCES auth.app_users (id) ON DELETE SET NULL,
    size_bytes       bigint      NOT NULL CONSTRAINT objects_size_range CHECK (size_bytes >= 0),
    mime_type        text        NOT NULL DEFAULT 'application/octet-stream',
    checksum_sha256  bytea       CONSTRAINT objects_checksum_length CHECK (octet_length(checksum_sha256) = 32),
    metadata         jsonb       NOT NULL DEFAULT '{}'
                                 CONSTRAINT objects_metadata_object CHECK (jsonb_typeof(metadata) = 'object'),
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    last_accessed_at timestamptz,
    CONSTRAINT objects_bucket_path_key UNIQUE (bucket_id, path)
);
COMMENT ON TABLE storage.objects IS 'Files, without their content';
COMMENT ON COLUMN storage.objects.path IS 'Within the bucket; no empty segment, "." or ".."';
-- LIKE 'folder/%' cannot use the unique key in most collations.
CREATE INDEX objects_prefix_idx ON storage.objects (bucket_id, path text_pattern_ops);
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


-- Privileges and policies. Reading follows from public and owner. Who may upload, replace or delete what is the
-- application's decision: it adds policies of its own to storage.objects, and without them only the service may.

ALTER TABLE storage.buckets ENABLE ROW LEVEL SECURITY;
ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY;

GRANT SELECT, INSERT, UPDATE, DELETE ON storage.buckets, storage.objects TO service_role;
GRANT SELECT ON storage.buckets TO anon, authenticated;
GRANT SELECT ON storage.objects TO anon;
GRANT SELECT, INSERT, UPDATE, DELETE ON storage.objects TO authenticated;

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
