"""Bindings (绑定): which were done, so that the same one again gets the same answer."""

from sqlalchemy import Connection, insert, text

from db.records import KnownBinding
from db.tables import number_bindings

_FIND = text("""
    SELECT taxpayer_id, binding_id, organization, prefix, sequence, issue_request_id, action, requested_by, event_id,
           answered_at
    FROM number_bindings
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND binding_id = :binding_id
""")


def find_binding(
    connection: Connection,
    environment: str,
    taxpayer_id: str,
    binding_id: str,
) -> KnownBinding | None:
    """Read a binding or unbinding that was done; None where none was by this id."""
    row = connection.execute(
        _FIND,
        {"taxpayer_id": taxpayer_id, "environment": environment, "binding_id": binding_id},
    ).one_or_none()
    return None if row is None else KnownBinding(*row)


def add_binding(connection: Connection, environment: str, binding: KnownBinding) -> None:
    """Store a binding or unbinding that is being done; one of the same id is refused by its key."""
    connection.execute(
        insert(number_bindings).values(
            environment=environment,
            taxpayer_id=binding.taxpayer_id,
            binding_id=binding.binding_id,
            organization=binding.organization,
            prefix=binding.prefix,
            sequence=binding.sequence,
            issue_request_id=binding.issue_request_id,
            action=binding.action,
            requested_by=binding.requested_by,
            event_id=binding.event_id,
            answered_at=binding.answered_at,
        ),
    )
