"""The fence: tells a database that was restored from one that only restarted.

A restored backup, or a replica that lagged behind, has forgotten which numbers were handed out since.
No constraint can see that, so a database that is not the one that was recorded is not issued from.
"""

from datetime import datetime

from sqlalchemy import Connection, select, text, update

from db.tables import deployment

# The cluster, its timeline (a promoted replica or a recovery to a point in time begins a new one), the database
# (restored beside the old one), and the table of ranges (restored over the old one).
_IDENTITY = text("""
    SELECT concat_ws('/',
        (SELECT system_identifier FROM pg_control_system()),
        (SELECT timeline_id FROM pg_control_checkpoint()),
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        CAST('ranges' AS regclass)::oid)
""")


def present_identity(connection: Connection) -> str:
    """Tell which database this is; another text after a restore or a failover."""
    return str(connection.execute(_IDENTITY).scalar_one())


def is_another_database(connection: Connection) -> bool:
    """Whether this database is not the one that was recorded: it was restored, or its server was replaced."""
    recorded = connection.execute(select(deployment.c.identity)).scalar_one()
    return bool(recorded != present_identity(connection))


def record_recovery(connection: Connection, *, now: datetime) -> None:
    """Record this database as the one to issue from; every range that it held must be out of use before."""
    connection.execute(update(deployment).values(identity=present_identity(connection), recovered_at=now))
