"""Roles of the database: each may what it needs, and nothing else.

| role | may |
| --- | --- |
| `<prefix>_owner` | everything in the schema: it runs migrations, and nothing else runs as it |
| `<prefix>_worker` | read all, write what `WORKER_MAY` names: it changes no schema, and removes no number or history |
| `<prefix>_reader` | read all |

What a role may is set anew each time, here and at the end of each migration, so that nothing that was given by hand
stays. A number's history is written by the database itself, under the owner's rights (`db.guards`).
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql
from sqlalchemy import Connection, text

from db.tables import metadata, queue_positions

#: What a worker, and an operator's command, may do to each table besides reading it.
WORKER_MAY: Final[Mapping[str, tuple[str, ...]]] = {
    "answered_messages": ("INSERT", "UPDATE (answered)", "DELETE"),
    "channels": ("INSERT", "UPDATE", "DELETE"),
    "claims": ("INSERT", "UPDATE"),
    "deployment": ("UPDATE (identity, recovered_at, overdue_until)",),
    "direct_units": ("INSERT", "UPDATE"),
    "invoice_outcomes": ("INSERT",),
    "issue_requests": ("INSERT", "UPDATE"),
    "number_bindings": ("INSERT",),
    "number_history": (),
    "numbers": ("INSERT", "UPDATE"),
    "organizations": ("INSERT", "UPDATE"),
    "outbox": ("INSERT", "UPDATE", "DELETE"),
    "ranges": ("INSERT", "UPDATE"),
    "refreshes": ("INSERT",),
    "stocks": ("INSERT", "UPDATE"),
    "untold_changes": (),
    "usage": ("INSERT", "UPDATE"),
}

_VERSION_TABLE = "alembic_version"
_PREFIX = re.compile(r"[a-z][a-z0-9_]{0,40}")
_OWNER = "_owner"

# What makes a role more than it should be, whatever it was granted here.
_TOO_MUCH = text("""
    SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
           OR EXISTS (SELECT FROM pg_auth_members AS m WHERE m.member = r.oid)
    FROM pg_roles AS r WHERE rolname = :name
""")


class RolesError(Exception):
    """The roles can't be made or used as they are; the text is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Roles:
    """The names of the three roles of one installation; roles belong to the whole server, so each has its prefix."""

    prefix: str

    def __post_init__(self) -> None:
        """Raise `RolesError` for a prefix that makes no plain names."""
        if not _PREFIX.fullmatch(self.prefix) or self.prefix.startswith("pg_"):
            message = "a prefix of roles is up to 41 of a-z, 0-9 and _, begins with a letter, and not with pg_"
            raise RolesError(message)

    @property
    def owner(self) -> str:
        """Who owns the schema, and migrates it."""
        return self.prefix + _OWNER

    @property
    def worker(self) -> str:
        """Who works on it."""
        return f"{self.prefix}_worker"

    @property
    def reader(self) -> str:
        """Who looks at it."""
        return f"{self.prefix}_reader"

    @property
    def all(self) -> tuple[str, str, str]:
        """Every role."""
        return self.owner, self.worker, self.reader


def establish(connection: Connection, roles: Roles, passwords: Mapping[str, str]) -> None:
    """Make the roles that are missing, and give each what it may, no more; the same again changes nothing.

    `passwords` are by role; a role without one keeps what it has. They are hashed here: the server, and what it logs
    of statements, never sees one. Who is connected must be a superuser, or own the database and be able to create
    roles. Raises `RolesError`; the caller commits, after `db.migrate` is kept off.
    """
    with _explained():
        for role in roles.all:
            _make(connection, role)
            if (password := passwords.get(role)) is not None:
                _set_password(connection, role, password)
        _hand_over(connection, roles)
        _close_to_public(connection, roles)
        grant(connection, roles)


def established(connection: Connection) -> Roles | None:
    """Tell which roles this database is used by, from who owns its schema; None where there are none."""
    owner = connection.execute(
        text("SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = current_schema()"),
    ).scalar_one_or_none()
    if owner is None or not owner.endswith(_OWNER) or owner.startswith("pg_"):
        return None
    roles = Roles(owner.removesuffix(_OWNER))
    return roles if all(_exists(connection, role) for role in roles.all) else None


def become_owner(connection: Connection, roles: Roles) -> None:
    """Let what this transaction makes belong to the owner, where who is connected may act as it."""
    may = connection.execute(text("SELECT pg_has_role(current_user, :owner, 'MEMBER')"), {"owner": roles.owner})
    if may.scalar_one():
        _run(connection, "SET LOCAL ROLE {}", roles.owner)


def grant(connection: Connection, roles: Roles) -> None:
    """Give worker and reader exactly what they may, on what there is and on what may come."""
    schema = _schema(connection)
    for role in (roles.worker, roles.reader):
        _run(connection, "REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}", schema, role)
        _run(connection, "REVOKE ALL ON ALL SEQUENCES IN SCHEMA {} FROM {}", schema, role)
        _run(connection, "REVOKE ALL ON SCHEMA {} FROM {}", schema, role)
        _run(connection, "GRANT USAGE ON SCHEMA {} TO {}", schema, role)
        _run(connection, "GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}", schema, role)
        # The audit compares with the numbers that were drawn; to who may not, 18 says that none was.
        _run(connection, "GRANT SELECT ON ALL SEQUENCES IN SCHEMA {} TO {}", schema, role)
        for kind in ("TABLES", "SEQUENCES"):
            _run(
                connection, f"ALTER DEFAULT PRIVILEGES FOR ROLE {{}} REVOKE ALL ON {kind} FROM {{}}", roles.owner, role
            )
        # A table that a later migration makes can be read at once; what else, that version's `WORKER_MAY` says.
        for kind in ("TABLES", "SEQUENCES"):
            _run(
                connection, f"ALTER DEFAULT PRIVILEGES FOR ROLE {{}} GRANT SELECT ON {kind} TO {{}}", roles.owner, role
            )
    _run(connection, "ALTER DEFAULT PRIVILEGES FOR ROLE {} REVOKE ALL ON FUNCTIONS FROM PUBLIC", roles.owner)
    there = _tables(connection)
    for table, rights in WORKER_MAY.items():
        if table in there:
            for right in rights:
                _run(connection, f"GRANT {right} ON {{}} TO {{}}", table, roles.worker)
    if queue_positions.name in _sequences(connection):
        _run(connection, "GRANT USAGE ON SEQUENCE {} TO {}", queue_positions.name, roles.worker)


def _make(connection: Connection, role: str) -> None:
    if not _exists(connection, role):
        _run(connection, "CREATE ROLE {} LOGIN", role)
    elif connection.execute(_TOO_MUCH, {"name": role}).scalar_one():
        message = (
            f"the role {role} exists and may more than it should (an attribute, or a member of another role):"
            " take that away, or choose another --prefix"
        )
        raise RolesError(message)
    else:
        _run(connection, "ALTER ROLE {} LOGIN", role)


def _set_password(connection: Connection, role: str, password: str) -> None:
    raw = _raw(connection)
    verifier = raw.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    raw.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier)))


def _hand_over(connection: Connection, roles: Roles) -> None:
    """Let the schema and all of ours in it belong to the owner."""
    if not connection.execute(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")).scalar_one():
        # Only who may act as a role may give it something.
        _run(connection, "GRANT {} TO CURRENT_USER", roles.owner)
    _run(connection, "GRANT CREATE, TEMPORARY ON DATABASE {} TO {}", _database(connection), roles.owner)
    _run(connection, "ALTER SCHEMA {} OWNER TO {}", _schema(connection), roles.owner)
    ours = {*metadata.tables, _VERSION_TABLE}
    for table in sorted(_tables(connection) & ours):
        _run(connection, "ALTER TABLE {} OWNER TO {}", table, roles.owner)
    for sequence in sorted(_sequences(connection) & {queue_positions.name}):
        _run(connection, "ALTER SEQUENCE {} OWNER TO {}", sequence, roles.owner)
    for function in _functions(connection):
        _run(connection, "ALTER FUNCTION {}() OWNER TO {}", function, roles.owner)
        _run(connection, "REVOKE ALL ON FUNCTION {}() FROM PUBLIC", function)


def _close_to_public(connection: Connection, roles: Roles) -> None:
    """Take from everybody what PostgreSQL gives to everybody: the database is for these roles alone."""
    database = _database(connection)
    _run(connection, "REVOKE ALL ON DATABASE {} FROM PUBLIC", database)
    _run(connection, "REVOKE ALL ON SCHEMA {} FROM PUBLIC", _schema(connection))
    for role in roles.all:
        _run(connection, "GRANT CONNECT ON DATABASE {} TO {}", database, role)
    # Migrations put rows aside.
    _run(connection, "GRANT CREATE, TEMPORARY ON DATABASE {} TO {}", database, roles.owner)


def _exists(connection: Connection, role: str) -> bool:
    found = connection.execute(text("SELECT FROM pg_roles WHERE rolname = :role"), {"role": role})
    return found.one_or_none() is not None


def _tables(connection: Connection) -> set[str]:
    return set(
        connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")).scalars()
    )


def _sequences(connection: Connection) -> set[str]:
    found = connection.execute(text("SELECT sequencename FROM pg_sequences WHERE schemaname = current_schema()"))
    return set(found.scalars())


def _functions(connection: Connection) -> list[str]:
    """Name the functions of our triggers."""
    found = text("""
        SELECT DISTINCT p.proname FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
        JOIN pg_class AS c ON c.oid = t.tgrelid
        WHERE NOT t.tgisinternal AND c.relnamespace = CAST(current_schema() AS regnamespace)
        ORDER BY p.proname
    """)
    return list(connection.execute(found).scalars())


def _database(connection: Connection) -> str:
    return str(connection.execute(text("SELECT current_database()")).scalar_one())


def _schema(connection: Connection) -> str:
    return str(connection.execute(text("SELECT current_schema()")).scalar_one())


def _run(connection: Connection, statement: str, *names: str) -> None:
    """Run a statement with names put in, quoted as names."""
    _raw(connection).execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _raw(connection: Connection) -> "psycopg.Connection[Any]":
    raw = connection.connection.driver_connection
    if not isinstance(raw, psycopg.Connection):
        raise TypeError
    return raw


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.InsufficientPrivilege:
        message = (
            "the database's user may not make roles or hand the schema over:"
            " use an administrator in FUMA_DATABASE_URL, a superuser or the database's owner with CREATEROLE"
        )
        raise RolesError(message) from None
