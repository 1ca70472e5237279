-- Splits every table that grows into hash partitions by taxpayer: docs/scaling.md, "PostgreSQL by taxpayer".
--
--     psql "$FUMA_DATABASE_URL" -v ON_ERROR_STOP=1 -f docs/partition-by-taxpayer.sql
--     psql "$FUMA_DATABASE_URL" -v ON_ERROR_STOP=1 -c "SET fuma.partitions = 32" -f docs/partition-by-taxpayer.sql
--
-- PostgreSQL 14 or newer, the newest schema, all workers stopped; connect as the owner of the tables. One transaction:
-- all of it or nothing. It copies the rows, so it needs their space again, and an exclusive lock for as long.
-- Whatever stands on the tables (keys, checks, indexes, triggers, comments, privileges) is read from the catalog and
-- made anew, so the script need not know the newest schema.
--
-- One thing can't be as it was: an exclusion constraint holds within a partition. All ranges of one taxpayer are in the
-- same one, so no two of them overlap; a range of another taxpayer that overlaps is found by `fuma audit`.
-- (PostgreSQL 17 can declare it once for all partitions, with `taxpayer_id WITH =` and the extension btree_gist: the
-- same promise, so it isn't needed.)

DO $script$
DECLARE
    partitions CONSTANT int := coalesce(nullif(current_setting('fuma.partitions', true), ''), '16')::int;
    -- organizations (found by their code) and channels stay whole, and so do the tables without a taxpayer.
    split CONSTANT text[] := ARRAY['stocks', 'claims', 'ranges', 'issue_requests', 'numbers', 'number_history',
        'answered_messages', 'number_bindings', 'invoice_outcomes', 'usage', 'refreshes'];
    whole text;
    part text;
    made record;
    options text;
    rows_before bigint;
    rows_after bigint;
    ranges_before text := 'public.ranges'::regclass::oid::text;
BEGIN
    IF EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = to_regclass('public.numbers')) THEN
        RAISE EXCEPTION 'the tables are split already';
    END IF;
    IF EXISTS (
        SELECT FROM pg_constraint AS k JOIN pg_class AS f ON f.oid = k.confrelid JOIN pg_class AS c ON c.oid = k.conrelid
        WHERE k.contype = 'f' AND f.relname = ANY (split) AND c.relname <> ALL (split)
    ) THEN
        RAISE EXCEPTION 'a table that this script does not know refers to one that it splits: name it in "split" too';
    END IF;
    EXECUTE 'LOCK TABLE ' || (SELECT string_agg(format('public.%I', s), ', ') FROM unnest(split) AS s);

    CREATE TEMPORARY TABLE remade ON COMMIT DROP AS
    -- Keys before the foreign keys that point to them, then what is no constraint.
    SELECT c.relname AS name, CASE WHEN k.contype = 'f' THEN 3 ELSE 1 END AS turn, k.contype = 'x' AS is_exclusion,
           k.conname AS object, pg_get_constraintdef(k.oid) AS definition
    FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (split) AND k.contype IN ('p', 'u', 'x', 'f')
    UNION ALL
    SELECT c.relname, 2, false, NULL, pg_get_indexdef(i.indexrelid)
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (split)
      AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
    UNION ALL
    SELECT c.relname, 4, false, NULL, pg_get_triggerdef(t.oid)
    FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (split) AND NOT t.tgisinternal
    UNION ALL
    SELECT c.relname, 5, false, NULL, format('GRANT %s ON public.%I TO %s', a.privilege_type, c.relname,
           CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
    FROM pg_class AS c, aclexplode(c.relacl) AS a
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (split) AND a.grantee <> c.relowner
    UNION ALL
    SELECT c.relname, 6, false, NULL, format('COMMENT ON TABLE public.%I IS %L', c.relname, obj_description(c.oid))
    FROM pg_class AS c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (split);

    CREATE SCHEMA fuma_whole;
    FOREACH whole IN ARRAY split LOOP
        EXECUTE format('ALTER TABLE public.%I SET SCHEMA fuma_whole', whole);
    END LOOP;

    FOREACH whole IN ARRAY split LOOP
        EXECUTE format('CREATE TABLE public.%I (LIKE fuma_whole.%1$I INCLUDING DEFAULTS INCLUDING CONSTRAINTS'
            ' INCLUDING GENERATED INCLUDING COMMENTS) PARTITION BY HASH (taxpayer_id)', whole);
        -- A fill factor can only be said of a partition.
        SELECT coalesce('WITH (' || array_to_string(reloptions, ', ') || ')', '') INTO options
        FROM pg_class WHERE oid = format('fuma_whole.%I', whole)::regclass;
        FOR number IN 0 .. partitions - 1 LOOP
            part := format('%s_p%s', whole, number);
            EXECUTE format('CREATE TABLE public.%I PARTITION OF public.%I FOR VALUES WITH (MODULUS %s, REMAINDER %s) %s',
                part, whole, partitions, number, options);
            FOR made IN SELECT * FROM remade AS r WHERE r.name = whole AND r.is_exclusion
            LOOP
                EXECUTE format('ALTER TABLE public.%I ADD CONSTRAINT %I %s',
                    part, made.object || '_p' || number, made.definition);
            END LOOP;
        END LOOP;
        EXECUTE format('INSERT INTO public.%I SELECT * FROM fuma_whole.%1$I', whole);
        EXECUTE format('SELECT count(*) FROM fuma_whole.%I', whole) INTO rows_before;
        EXECUTE format('SELECT count(*) FROM public.%I', whole) INTO rows_after;
        IF rows_before <> rows_after THEN
            RAISE EXCEPTION '% has % rows, and % after the split', whole, rows_before, rows_after;
        END IF;
    END LOOP;

    -- A worker takes a database whose table of ranges was made anew for a restored one. This one has forgotten nothing:
    -- only that part of its identity is replaced, so that a restored database is refused after the split as before.
    UPDATE deployment
    SET identity = regexp_replace(identity, '/' || ranges_before || '$', '/' || 'public.ranges'::regclass::oid);

    DROP SCHEMA fuma_whole CASCADE;
    FOR made IN SELECT * FROM remade AS r WHERE NOT r.is_exclusion ORDER BY r.turn, r.name LOOP
        IF made.object IS NULL THEN
            EXECUTE made.definition;
        ELSE
            EXECUTE format('ALTER TABLE public.%I ADD CONSTRAINT %I %s', made.name, made.object, made.definition);
        END IF;
    END LOOP;
    FOREACH whole IN ARRAY split LOOP
        EXECUTE format('ANALYZE public.%I', whole);
    END LOOP;
END
$script$;
