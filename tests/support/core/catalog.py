"""What a database's catalog says of its schema, as text that can be compared."""

from sqlalchemy import Engine, text

_QUERIES = {
    "tables": """
        SELECT c.relname, c.relkind, c.reloptions::text, obj_description(c.oid, 'pg_class')
        FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'alembic%'
    """,
    "columns": """
        SELECT c.relname, row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), a.attname,
               format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text,
               a.attstorage::text, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
        FROM pg_attribute AS a
        JOIN pg_class AS c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'alembic%'
          AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
    """,
    "constraints": """
        SELECT c.relname, k.conname, k.contype::text, pg_get_constraintdef(k.oid), k.convalidated, k.condeferrable
        FROM pg_constraint AS k
        JOIN pg_class AS c ON c.oid = k.conrelid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'alembic%'
    """,
    "indexes": """
        SELECT pg_get_indexdef(i.indexrelid), i.indisunique, i.indisvalid
        FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indrelid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'alembic%'
    """,
    "sequences": """
        SELECT c.relname, s.seqtypid::regtype::text, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle
        FROM pg_sequence AS s
        JOIN pg_class AS c ON c.oid = s.seqrelid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'alembic%'
    """,
    "functions": """
        SELECT p.proname, pg_get_functiondef(p.oid)
        FROM pg_proc AS p
        WHERE p.pronamespace = 'public'::regnamespace
    """,
    "triggers": """
        SELECT c.relname, t.tgname, pg_get_triggerdef(t.oid), t.tgenabled::text
        FROM pg_trigger AS t
        JOIN pg_class AS c ON c.oid = t.tgrelid
        WHERE NOT t.tgisinternal
    """,
    "others": """
        SELECT 'extension', extname::text FROM pg_extension
        UNION ALL SELECT 'type', t.typname::text
        FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
        WHERE n.nspname = 'public' AND t.typname NOT LIKE '%alembic\\_version'
    """,
}


def catalog(engine: Engine) -> dict[str, list[str]]:
    """Read every table, column, constraint, index, sequence, function and trigger with all that makes it what it is."""
    with engine.connect() as connection:
        return {
            kind: sorted(str(tuple(row)) for row in connection.execute(text(query))) for kind, query in _QUERIES.items()
        }
