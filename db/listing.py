"""What the tables for people and programs show: ranges, claims, numbers and waiting requests, filtered.

Each row is a mapping with exactly the contract's field names, in its order.
Rows come from the server as they are read, so that a listing of millions fits into a small memory.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    and_,
    case,
    cast,
    exists,
    extract,
    func,
    literal,
    or_,
    select,
    union_all,
)

from db.tables import claims, issue_requests, number_history, numbers, organizations, ranges

#: How many rows are fetched at a time.
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Filters:
    """What a listing is narrowed to; None lets everything pass."""

    environment: str
    organization: str | None = None
    taxpayer_id: str | None = None
    year: int | None = None
    #: From this instant on, and before that one.
    created_from: datetime | None = None
    created_before: datetime | None = None
    status: str | None = None
    claim_mode: str | None = None
    #: One number, as its prefix and sequence.
    number: tuple[int, int] | None = None
    range_id: UUID | None = None
    limit: int | None = None


#: How a listing understands each filter that it has: the filter's value to a condition.
_Tests = Mapping[str, Callable[[Any], ColumnElement[bool]]]


def list_ranges(connection: Connection, filters: Filters) -> Iterator[Mapping[str, object]]:
    """List ranges, the newest first.

    `remaining` counts what can still be issued, or could be once it is released: the untouched rest of the range and
    its single numbers that nobody holds; nothing remains of one that is used up, expired or retired.
    An organisation's are those that it may draw from, whoever's request led to them.
    """
    return _rows(
        connection,
        select(
            ranges.c.range_id,
            ranges.c.organization,
            ranges.c.taxpayer_id,
            ranges.c.environment,
            ranges.c.channel_mode,
            ranges.c.year,
            _digits(ranges.c.prefix, ranges.c.first_sequence).label("first_number"),
            _digits(ranges.c.prefix, ranges.c.last_sequence).label("last_number"),
            (ranges.c.last_sequence - ranges.c.first_sequence + 1).label("claimed"),
            _remaining().label("remaining"),
            ranges.c.claim_mode,
            ranges.c.status,
            ranges.c.claim_id,
            ranges.c.created_at,
        ).order_by(ranges.c.created_at.desc(), ranges.c.taxpayer_id, ranges.c.prefix, ranges.c.first_sequence),
        filters,
        {
            "environment": lambda value: ranges.c.environment == value,
            "organization": _may_be_drawn_by,
            "taxpayer_id": lambda value: ranges.c.taxpayer_id == value,
            "year": lambda value: ranges.c.year == value,
            "created_from": lambda value: ranges.c.created_at >= value,
            "created_before": lambda value: ranges.c.created_at < value,
            "status": lambda value: ranges.c.status == value,
            "claim_mode": lambda value: ranges.c.claim_mode == value,
            "number": lambda value: and_(
                ranges.c.prefix == value[0],
                ranges.c.first_sequence <= value[1],
                ranges.c.last_sequence >= value[1],
            ),
        },
    )


def list_claims(connection: Connection, filters: Filters) -> Iterator[Mapping[str, object]]:
    """List claims, the newest first; an organisation's are those that it asked for or whose request led to them."""
    return _rows(
        connection,
        select(
            claims.c.claim_id,
            claims.c.claim_mode,
            claims.c.organization,
            claims.c.taxpayer_id,
            claims.c.quantity,
            claims.c.business_serial,
            claims.c.status,
            claims.c.reason,
            claims.c.detail,
            claims.c.requested_by,
            claims.c.created_at,
            claims.c.next_attempt_at,
        ).order_by(claims.c.created_at.desc(), claims.c.taxpayer_id, claims.c.claim_id),
        filters,
        {
            "environment": lambda value: claims.c.environment == value,
            "organization": lambda value: claims.c.organization == value,
            "taxpayer_id": lambda value: claims.c.taxpayer_id == value,
            "year": lambda value: claims.c.year == value,
            "created_from": lambda value: claims.c.created_at >= value,
            "created_before": lambda value: claims.c.created_at < value,
            "status": lambda value: claims.c.status == value,
            "claim_mode": lambda value: claims.c.claim_mode == value,
        },
    )


def list_numbers(connection: Connection, filters: Filters) -> Iterator[Mapping[str, object]]:
    """List numbers that were assigned or split off a manual range, by tax id and number.

    An organisation's are those on its requests, and those on nobody's that it may draw.
    A number counts as created when it was assigned; while nobody holds it, when its range was claimed.
    """
    created = func.coalesce(numbers.c.assigned_at, ranges.c.created_at)
    return _rows(
        connection,
        select(
            _digits(numbers.c.prefix, numbers.c.sequence).label("invoice_number"),
            numbers.c.range_id,
            numbers.c.taxpayer_id,
            numbers.c.status,
            ranges.c.claim_mode,
            numbers.c.issue_request_id,
            numbers.c.issue_date,
            numbers.c.assigned_at,
        )
        .join(
            ranges,
            and_(
                ranges.c.taxpayer_id == numbers.c.taxpayer_id,
                ranges.c.environment == numbers.c.environment,
                ranges.c.range_id == numbers.c.range_id,
            ),
        )
        .order_by(numbers.c.taxpayer_id, numbers.c.environment, numbers.c.prefix, numbers.c.sequence),
        filters,
        {
            "environment": lambda value: numbers.c.environment == value,
            "organization": lambda value: or_(
                _is_on_request_of(value),
                and_(numbers.c.issue_request_id.is_(None), _may_be_drawn_by(value)),
            ),
            "taxpayer_id": lambda value: numbers.c.taxpayer_id == value,
            "year": lambda value: numbers.c.prefix.between(value % 100 * 10_000, value % 100 * 10_000 + 9_999),
            "created_from": lambda value: created >= value,
            "created_before": lambda value: created < value,
            "status": lambda value: numbers.c.status == value,
            "claim_mode": lambda value: ranges.c.claim_mode == value,
            "number": lambda value: and_(numbers.c.prefix == value[0], numbers.c.sequence == value[1]),
            "range_id": lambda value: numbers.c.range_id == value,
        },
    )


def list_history(connection: Connection, filters: Filters) -> Iterator[Mapping[str, object]]:
    """List the changes of one number, the first to the last: when, from which state to which, by what, who asked.

    A change that took the number from a request names that request.
    Nothing for a number that was never assigned nor split off a manual range.
    """
    columns = (
        "taxpayer_id",
        "environment",
        "prefix",
        "sequence",
        "step",
        "status",
        "issue_request_id",
        "bound_to",
        "changed_at",
        "changed_by",
        "requested_by",
        "event_id",
    )
    states = union_all(
        select(*(number_history.c[name] for name in columns)),
        select(*(numbers.c[name] for name in columns)),
    ).subquery()
    of_one = (states.c.taxpayer_id, states.c.environment, states.c.prefix, states.c.sequence)
    holder = func.coalesce(states.c.issue_request_id, states.c.bound_to)
    return _rows(
        connection,
        select(
            _digits(states.c.prefix, states.c.sequence).label("invoice_number"),
            states.c.changed_at.label("at"),
            func.lag(states.c.status).over(partition_by=of_one, order_by=states.c.step).label("from"),
            states.c.status.label("to"),
            states.c.changed_by.label("message"),
            states.c.requested_by,
            func.coalesce(holder, func.lag(holder).over(partition_by=of_one, order_by=states.c.step)).label(
                "issue_request_id"
            ),
            states.c.event_id,
        ).order_by(states.c.taxpayer_id, states.c.step),
        filters,
        {
            "environment": lambda value: states.c.environment == value,
            "taxpayer_id": lambda value: states.c.taxpayer_id == value,
            "number": lambda value: and_(states.c.prefix == value[0], states.c.sequence == value[1]),
        },
    )


def list_waiting(connection: Connection, filters: Filters) -> Iterator[Mapping[str, object]]:
    """List the requests that wait for stock, in the order in which they came to wait."""
    return _rows(
        connection,
        select(
            issue_requests.c.issue_request_id,
            issue_requests.c.organization,
            issue_requests.c.taxpayer_id,
            issue_requests.c.issue_date,
            issue_requests.c.waiting_since,
        )
        .where(issue_requests.c.status == "waiting")
        .order_by(issue_requests.c.queue_position),
        filters,
        {
            "environment": lambda value: issue_requests.c.environment == value,
            "organization": lambda value: issue_requests.c.organization == value,
            "taxpayer_id": lambda value: issue_requests.c.taxpayer_id == value,
            "year": lambda value: extract("year", issue_requests.c.issue_date) == value,
            "created_from": lambda value: issue_requests.c.waiting_since >= value,
            "created_before": lambda value: issue_requests.c.waiting_since < value,
            # Issuing never takes a manual number by itself: whoever waits does so for an automatic one.
            "claim_mode": lambda value: literal(value) == "automatic",
        },
    )


def is_registered(connection: Connection, environment: str, code: str) -> bool:
    """Whether an organisation of this code exists: a filter by any other is a slip of the pen."""
    known = exists().where(organizations.c.environment == environment, organizations.c.code == code)
    return bool(connection.execute(select(known)).scalar_one())


def _rows(
    connection: Connection,
    statement: Select[Any],
    filters: Filters,
    tests: _Tests,
) -> Iterator[Mapping[str, object]]:
    for name, test in tests.items():
        value = getattr(filters, name)
        if value is not None:
            statement = statement.where(test(value))
    with connection.execute(statement.limit(filters.limit), execution_options={"yield_per": _PAGE}) as result:
        for row in result.mappings():
            yield dict(row)


def _digits(prefix: ColumnElement[int], sequence: ColumnElement[int]) -> ColumnElement[str]:
    """Write the 20 digits of a number."""
    return func.lpad(cast(prefix, String), 6, "0").concat(func.lpad(cast(sequence, String), 14, "0"))


def _remaining() -> ColumnElement[int]:
    available = (
        select(func.count())
        .select_from(numbers)
        .where(
            numbers.c.taxpayer_id == ranges.c.taxpayer_id,
            numbers.c.environment == ranges.c.environment,
            numbers.c.range_id == ranges.c.range_id,
            numbers.c.status == "available",
        )
        .scalar_subquery()
    )
    untouched = ranges.c.last_sequence - ranges.c.next_sequence + 1
    return case((ranges.c.status.in_(("active", "quarantined", "foreign")), untouched + available), else_=0)


def _may_be_drawn_by(code: str) -> ColumnElement[bool]:
    """Whether the organisation has the range's tax id and channel mode."""
    return exists().where(
        organizations.c.environment == ranges.c.environment,
        organizations.c.code == code,
        organizations.c.taxpayer_id == ranges.c.taxpayer_id,
        organizations.c.channel_mode == ranges.c.channel_mode,
    )


def _is_on_request_of(code: str) -> ColumnElement[bool]:
    """Whether the number stands on a request of the organisation."""
    return exists().where(
        issue_requests.c.taxpayer_id == numbers.c.taxpayer_id,
        issue_requests.c.environment == numbers.c.environment,
        issue_requests.c.issue_request_id == numbers.c.issue_request_id,
        issue_requests.c.organization == code,
    )
