"""What must hold of the database as a whole: its guards stand, its rows belong together, and to one environment."""

# ruff: noqa: S608 -- every part of these statements is a constant of this package

import re
from collections.abc import Iterator
from hashlib import sha256

from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.engine import make_url

from db.audit.invariant import Invariant
from db.guards import BY_THE_OWNER, GUARDS
from db.tables import metadata


def _guards() -> Iterator[tuple[str, str, str, str]]:
    """Give kind, table and name of everything by which the schema refuses what must never happen.

    And of a trigger the function that it calls.
    """
    named = make_url("postgresql+psycopg://").get_dialect()().identifier_preparer
    for table in metadata.sorted_tables:
        for column in table.columns:
            if not column.nullable:
                yield "column", table.name, column.name, ""
        for constraint in table.constraints:
            kind = "exclusion" if isinstance(constraint, ExcludeConstraint) else "constraint"
            yield kind, table.name, str(named.format_constraint(constraint)), ""
        for index in table.indexes:
            if index.unique:
                yield "key", table.name, named.format_index(index), ""
    trigger = r"CREATE (?:CONSTRAINT )?TRIGGER (\w+) .*? ON (\w+).*?\sEXECUTE FUNCTION (\w+)\("
    for name, table, calls in re.findall(trigger, "\n".join(GUARDS), re.DOTALL):
        yield "trigger", table, name, calls


def _functions() -> Iterator[tuple[str, str, bool]]:
    """Give name, digest of the text and whether it has its owner's rights, of every function that the triggers call."""
    for guard in GUARDS:
        made = re.match(r"\s*CREATE FUNCTION (\w+)\(\).*?\$\$(.*)\$\$", guard, re.DOTALL)
        if made is not None:
            name, text = made.groups()
            yield name, sha256(text.encode()).hexdigest(), f"'{name}'" in BY_THE_OWNER


_GUARDS = ", ".join(str(guard) for guard in sorted(_guards()))
_FUNCTIONS = ", ".join(str(function) for function in sorted(_functions()))

STRUCTURE_INVARIANTS = (
    Invariant(
        "guards-stand",
        "every constraint, key, trigger and NOT NULL that the schema has is in force, and every trigger's function is"
        " as it was made",
        f"""
        SELECT g.kind || ' ' || g.owner || ' ' || g.name AS offender,
               NOT CASE g.kind
                   WHEN 'constraint' THEN EXISTS (
                       SELECT FROM pg_constraint WHERE conrelid = to_regclass(g.owner) AND conname = g.name
                          AND convalidated)
                       AND NOT EXISTS (
                       SELECT FROM pg_trigger AS t JOIN pg_constraint AS c ON c.oid = t.tgconstraint
                       WHERE c.conrelid = to_regclass(g.owner) AND c.conname = g.name AND t.tgenabled = 'D')
                   -- A table that was split by taxpayer (docs/scaling.md) has one for each of its parts.
                   WHEN 'exclusion' THEN (
                       SELECT count(*) FROM pg_constraint
                       WHERE contype = 'x' AND (conrelid = to_regclass(g.owner) AND conname = g.name
                          OR conrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass(g.owner))
                          AND starts_with(conname, g.name || '_p')))
                       = greatest(1, (SELECT count(*) FROM pg_inherits WHERE inhparent = to_regclass(g.owner)))
                   WHEN 'column' THEN EXISTS (
                       SELECT FROM pg_attribute WHERE attrelid = to_regclass(g.owner) AND attname = g.name
                          AND attnotnull)
                   WHEN 'key' THEN EXISTS (
                       SELECT FROM pg_index WHERE indexrelid = to_regclass(g.name) AND indisunique AND indisvalid)
                   ELSE EXISTS (
                       SELECT FROM pg_trigger WHERE tgrelid = to_regclass(g.owner) AND tgname = g.name
                          AND tgfoid = to_regprocedure(g.calls || '()') AND tgenabled IN ('O', 'A')) END AS broken
        FROM (VALUES {_GUARDS}) AS g (kind, owner, name, calls)
        UNION ALL
        SELECT 'function ' || f.name,
               NOT EXISTS (
                   SELECT FROM pg_proc AS p
                   WHERE p.oid = to_regprocedure(f.name || '()')
                     AND encode(sha256(convert_to(p.prosrc, 'UTF8')), 'hex') = f.digest
                     AND p.prosecdef = f.by_the_owner
                     -- Else whoever calls it could lay a table of his own in its way.
                     AND (NOT f.by_the_owner OR
                          'search_path=' || quote_ident(current_schema()) || ', pg_temp' = ANY (p.proconfig)))
        FROM (VALUES {_FUNCTIONS}) AS f (name, digest, by_the_owner)
        """,
    ),
    Invariant(
        "one-environment",
        "every row belongs to the environment that the database serves",
        """
        SELECT kind || ' ' || identifier AS offender,
               environment IS DISTINCT FROM (SELECT min(environment) FROM deployment) AS broken
        FROM (
            SELECT 'organisation', code, environment FROM organizations
            UNION ALL SELECT 'stock', taxpayer_id || ' ' || channel_mode || ' ' || year, environment FROM stocks
            UNION ALL SELECT 'claim', taxpayer_id || ' ' || claim_id, environment FROM claims
            UNION ALL SELECT 'range', taxpayer_id || ' ' || range_id, environment FROM ranges
            UNION ALL SELECT 'request', taxpayer_id || ' ' || issue_request_id, environment FROM issue_requests
            UNION ALL SELECT 'number', taxpayer_id || ' ' || prefix || '-' || sequence, environment FROM numbers
        ) AS every (kind, identifier, environment)
        """,
    ),
    Invariant(
        "names-only-what-is-stored",
        "a request's and a claim's organisation is its taxpayer's, and each claim and range has its stock",
        """
        SELECT 'request ' || q.taxpayer_id || ' ' || q.issue_request_id AS offender, o.code IS NULL AS broken
        FROM issue_requests AS q
        LEFT JOIN organizations AS o
          ON o.taxpayer_id = q.taxpayer_id AND o.environment = q.environment AND o.code = q.organization
        UNION ALL
        SELECT 'claim ' || c.taxpayer_id || ' ' || c.claim_id,
               s.level IS NULL OR (o.code IS NULL AND (c.organization IS NOT NULL OR c.claim_mode = 'manual'))
        FROM claims AS c
        LEFT JOIN stocks AS s USING (taxpayer_id, environment, channel_mode, year)
        LEFT JOIN organizations AS o
          ON o.taxpayer_id = c.taxpayer_id AND o.environment = c.environment AND o.code = c.organization
        UNION ALL
        SELECT 'range ' || r.taxpayer_id || ' ' || r.range_id, s.level IS NULL
        FROM ranges AS r
        LEFT JOIN stocks AS s USING (taxpayer_id, environment, channel_mode, year)
        """,
    ),
)
