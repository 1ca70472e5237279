"""Rows for tests of what reads them: put in directly, through the constraints, without the worker."""

from datetime import UTC, date, datetime
from uuid import UUID, uuid4

from sqlalchemy import Connection, Table, insert, select, update

from db.tables import (
    channels,
    claims,
    invoice_outcomes,
    issue_requests,
    number_bindings,
    number_history,
    numbers,
    organizations,
    outbox,
    ranges,
    stocks,
)
from tests.support.event_ids import of_change, of_range
from tests.support.telling import tell_all

TAXPAYER = "91350100M000100Y43"
OTHER_TAXPAYER = "91110000101623741K"
NOW = datetime(2026, 6, 15, 4, 0, tzinfo=UTC)
TODAY = date(2026, 6, 15)

_DIGITS = {"self-use": 70, "on-behalf": 71, "joint": 72}


def prefix_of(year: int, channel_mode: str) -> int:
    """Digits 1-6 of a number of region 44."""
    return year % 100 * 10_000 + 4400 + _DIGITS[channel_mode]


class Ledger:
    """Puts rows of one environment into the database; whatever isn't said is something ordinary."""

    def __init__(self, connection: Connection, environment: str = "sandbox") -> None:
        """Write by this connection; whoever made it commits."""
        self.connection = connection
        self.environment = environment
        self._positions = 0

    def channel(self, taxpayer_id: str = TAXPAYER, channel_mode: str = "self-use") -> None:
        """A channel with an ordinary policy."""
        self._put(
            channels,
            taxpayer_id=taxpayer_id,
            channel_mode=channel_mode,
            using_unit_id="U1",
            automatic_claims=True,
            claim_quantity=1000,
            claim_sizing="fixed",
            low_threshold=0.2,
        )

    def organization(self, code: str, taxpayer_id: str = TAXPAYER, channel_mode: str = "self-use") -> None:
        """An organisation on a channel that exists."""
        self._put(
            organizations,
            taxpayer_id=taxpayer_id,
            code=code,
            name=f"organisation {code}",
            channel_mode=channel_mode,
            created_at=NOW,
        )

    def stock(
        self,
        taxpayer_id: str = TAXPAYER,
        channel_mode: str = "self-use",
        year: int = 2026,
        *,
        level: str = "ok",
    ) -> None:
        """A stock."""
        self._put(
            stocks,
            taxpayer_id=taxpayer_id,
            channel_mode=channel_mode,
            year=year,
            level=level,
            exhausted_at=NOW if level == "exhausted" else None,
        )

    def claim(self, claim_id: str, *, status: str = "granted", taxpayer_id: str = TAXPAYER, **said: object) -> None:
        """A claim for a stock that exists; automatic and of 100 numbers."""
        settled = status not in {"open", "unresolved"}
        values: dict[str, object] = {
            "claim_mode": "automatic",
            "organization": None,
            "channel_mode": "self-use",
            "year": 2026,
            "quantity": 100,
            "using_unit_id": "U1",
            "business_serial": f"serial of {claim_id}",
            "form": "single",
            "created_at": NOW,
            "next_attempt_at": None if settled else NOW,
            "settled_at": NOW if settled else None,
        }
        self._put(claims, taxpayer_id=taxpayer_id, claim_id=claim_id, status=status, **(values | said))

    def range(
        self,
        first: int,
        *,
        taken: int = 0,
        quantity: int = 100,
        claim_id: str | None = None,
        taxpayer_id: str = TAXPAYER,
        channel_mode: str = "self-use",
        year: int = 2026,
        **said: object,
    ) -> UUID:
        """A range whose first `taken` numbers lie behind its cursor, without their rows."""
        range_id = uuid4()
        values: dict[str, object] = {
            "claim_mode": "automatic",
            "status": "active",
            "organization": None,
            "created_at": NOW,
        }
        self._put(
            ranges,
            taxpayer_id=taxpayer_id,
            range_id=range_id,
            channel_mode=channel_mode,
            year=year,
            prefix=prefix_of(year, channel_mode),
            first_sequence=first,
            last_sequence=first + quantity - 1,
            next_sequence=first + taken,
            claim_id=claim_id,
            **(values | said),
        )
        return range_id

    def request(
        self,
        issue_request_id: str,
        organization: str,
        *,
        status: str = "assigned",
        taxpayer_id: str = TAXPAYER,
        **said: object,
    ) -> None:
        """An issue request of an organisation that exists."""
        self._positions += 1
        waits = status == "waiting"
        values: dict[str, object] = {
            "issue_date": TODAY,
            "kind": "blue",
            "channel_mode": "self-use",
            "form": "single",
            "message": "/tests 1" if waits else None,
            "closed_because": "cancelled" if status == "closed" else None,
            "queue_position": self._positions if waits else None,
            "waiting_since": NOW if waits else None,
        }
        self._put(
            issue_requests,
            taxpayer_id=taxpayer_id,
            issue_request_id=issue_request_id,
            organization=organization,
            status=status,
            **(values | said),
        )

    def number(  # noqa: PLR0913 -- each is what some test is about
        self,
        range_id: UUID,
        first: int,
        sequence: int,
        issue_request_id: str | None = None,
        *,
        quantity: int = 100,
        taxpayer_id: str = TAXPAYER,
        channel_mode: str = "self-use",
        year: int = 2026,
        **said: object,
    ) -> None:
        """A number of a range that begins at `first`: assigned where it has a request, else available.

        Any other state is one step on from there.
        """
        ends_as = said.pop("status", None)
        assigned = issue_request_id is not None
        prefix = prefix_of(year, channel_mode)
        values: dict[str, object] = {
            "status": "assigned" if assigned else "available",
            "issue_date": TODAY.replace(year=year) if assigned else None,
            "assigned_at": NOW if assigned else None,
            "changed_at": NOW,
            "changed_by": "/tests 1",
            "event_id": of_change(prefix, sequence, 1) if assigned else of_range(),
        }
        self._put(
            numbers,
            taxpayer_id=taxpayer_id,
            prefix=prefix,
            sequence=sequence,
            range_id=range_id,
            range_first=first,
            range_last=first + quantity - 1,
            issue_request_id=issue_request_id,
            **(values | said),
        )
        tell_all(self.connection)
        if ends_as is not None:
            self._change(sequence, status=ends_as)

    def use(self, sequence: int, issue_request_id: str) -> None:
        """An outcome by which the assigned number of this sequence is used."""
        event_id = self._change(sequence, status="used")
        self._put(
            invoice_outcomes,
            **self._whose(sequence),
            outcome_id=f"outcome of {sequence}",
            organization="A",
            issue_request_id=issue_request_id,
            outcome="uploaded",
            reuse=True,
            became="used",
            event_id=event_id,
            answered_at=NOW,
        )

    def bind(self, sequence: int, issue_request_id: str) -> None:
        """A binding by which the available number of this sequence is kept for a request."""
        event_id = self._change(sequence, status="bound", bound_to=issue_request_id)
        self._put(
            number_bindings,
            **self._whose(sequence),
            binding_id=f"binding of {sequence}",
            organization="A",
            issue_request_id=issue_request_id,
            action="bind",
            event_id=event_id,
            answered_at=NOW,
        )

    def expire(self, sequence: int) -> None:
        """The end of the free number of this sequence, as its range ends."""
        self._change(sequence, status="expired", bound_to=None)

    def _whose(self, sequence: int) -> dict[str, object]:
        columns = (numbers.c.taxpayer_id, numbers.c.prefix, numbers.c.sequence)
        found = self.connection.execute(select(*columns).where(numbers.c.sequence == sequence)).mappings().one()
        return dict(found)

    def _change(self, sequence: int, **said: object) -> UUID:
        """Take one step with a number; the step before is in the history, whether the database keeps it or not."""
        kept = [column.name for column in number_history.columns]
        one = numbers.c.sequence == sequence
        before = self.connection.execute(select(*(numbers.c[name] for name in kept)).where(one)).mappings().one()
        step = before["step"] + 1
        event_id = of_range() if said.get("status") == "expired" else of_change(before["prefix"], sequence, step)
        self.connection.execute(
            update(numbers).where(one).values(step=step, event_id=event_id, **said),
        )
        if self.connection.execute(select(number_history).where(number_history.c.sequence == sequence)).first() is None:
            self.connection.execute(insert(number_history).values(**before))
        tell_all(self.connection)
        return event_id

    def message(self, publish_after: datetime = NOW) -> None:
        """A message in the outbox."""
        self.connection.execute(
            insert(outbox).values(
                message_ids=[str(uuid4())],
                routing_keys=["number-assigned"],
                content_types=["application/cloudevents+json"],
                events=[1],
                sizes=[2],
                body=b"{}",
                event_ids=[],
                publish_after=publish_after,
            ),
        )

    def _put(self, table: Table, **values: object) -> None:
        self.connection.execute(insert(table).values(environment=self.environment, **values))
