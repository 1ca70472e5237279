"""`fuma ranges`, `claims`, `numbers` and `waiting`: what is stored, and the operator's hand on it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer
from sqlalchemy import Connection

from db.listing import Filters, list_claims, list_history, list_numbers, list_ranges, list_waiting
from db.records import StockKey
from schemas.vocabulary import ClaimStatus, RangeStatus
from worker.cli import hand
from worker.cli.database import reading
from worker.cli.failures import CommandError
from worker.cli.filters import (
    USUAL_LIMIT,
    AsJson,
    CreatedFrom,
    CreatedTo,
    Limit,
    Mode,
    Organization,
    Taxpayer,
    Year,
    check_organization,
    make_filters,
)
from worker.cli.forecast import days_left_by_stock
from worker.cli.output import Layout, Row, print_json, print_table, readable, say
from worker.clock import Clock
from worker.settings import Settings, load_settings

ranges = typer.Typer()
waiting = typer.Typer()

_RANGES = Layout(
    "ranges",
    (
        ("organization", "taxpayer_id", "created_at"),
        ("first_number", "last_number", "range_id"),
        ("claimed", "remaining", "days_left", "year"),
        ("claim_mode", "status", "channel_mode"),
    ),
)
_CLAIMS = Layout(
    "claims",
    (
        ("claim_id", "business_serial"),
        ("organization", "taxpayer_id", "requested_by"),
        ("claim_mode", "quantity"),
        ("status", "reason", "detail"),
        ("created_at", "next_attempt_at"),
    ),
)
_NUMBERS = Layout(
    "numbers",
    (
        ("invoice_number", "taxpayer_id"),
        ("status", "claim_mode"),
        ("issue_request_id", "range_id"),
        ("issue_date", "assigned_at"),
    ),
)
_HISTORY = Layout(
    "changes",
    (
        ("at", "from", "to"),
        ("message", "requested_by"),
        ("issue_request_id", "event_id"),
    ),
)
_WAITING = Layout(
    "waiting requests",
    (("issue_request_id",), ("organization", "taxpayer_id"), ("issue_date", "waiting_since")),
)


class _NumberStatus(StrEnum):
    AVAILABLE = "available"
    BOUND = "bound"
    ASSIGNED = "assigned"
    HELD = "held"
    USED = "used"
    VOIDED = "voided"
    EXPIRED = "expired"


class _WaitingStatus(StrEnum):
    WAITING = "waiting"


@ranges.callback(invoke_without_command=True)
def _list_ranges(  # noqa: PLR0913 -- one for each option
    context: typer.Context,
    *,
    organization: Organization = None,
    taxpayer: Taxpayer = None,
    year: Year = None,
    created_from: CreatedFrom = None,
    created_to: CreatedTo = None,
    status: Annotated[RangeStatus | None, typer.Option(show_default=False)] = None,
    claim_mode: Mode = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List number ranges, the newest first; an organisation's are all that it may draw from."""
    if context.invoked_subcommand is not None:
        return
    settings = load_settings()
    filters = make_filters(
        settings.environment,
        organization=organization,
        taxpayer=taxpayer,
        year=year,
        days=(created_from, created_to),
        status=status,
        claim_mode=claim_mode,
        limit=limit,
    )
    listing = partial(_ranges_with_days_left, Clock(settings.clock).now())
    _show(settings, listing, filters, _RANGES, as_json=as_json)


@ranges.command("release")
def _release(
    range_id: Annotated[str, typer.Argument(metavar="RANGE", help="Id of a foreign range.")],
    reason: Annotated[str, typer.Option(help="Why nothing of it is used; kept with the range.")],
) -> None:
    """Make a foreign range usable; refused unless nothing of it is used."""
    hand.release(load_settings(), range_id, reason)


@ranges.command("confirm")
def _confirm(
    range_id: Annotated[
        str | None, typer.Argument(metavar="[RANGE]", help="Id of a range that a restore put out of use.")
    ] = None,
    *,
    reason: Annotated[str, typer.Option(help="How it is known; kept with the ranges.")],
    taxpayer: Taxpayer = None,
    everything: Annotated[bool, typer.Option("--all", help="Every such range.")] = False,
) -> None:
    """After a restore: stand for it that no number of a range was released since the backup and given to another.

    From then on a request that holds such a number is told it again, however it is asked.
    """
    hand.confirm(load_settings(), range_id, taxpayer, reason, everything=everything)


def claims(  # noqa: PLR0913 -- one for each option
    *,
    organization: Organization = None,
    taxpayer: Taxpayer = None,
    year: Year = None,
    created_from: CreatedFrom = None,
    created_to: CreatedTo = None,
    status: Annotated[ClaimStatus | None, typer.Option(show_default=False)] = None,
    claim_mode: Mode = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List claims, also refused ones, the newest first."""
    settings = load_settings()
    filters = make_filters(
        settings.environment,
        organization=organization,
        taxpayer=taxpayer,
        year=year,
        days=(created_from, created_to),
        status=status,
        claim_mode=claim_mode,
        limit=limit,
    )
    _show(settings, list_claims, filters, _CLAIMS, as_json=as_json)


def numbers(  # noqa: PLR0913 -- one for each option
    *,
    organization: Organization = None,
    taxpayer: Taxpayer = None,
    year: Year = None,
    created_from: CreatedFrom = None,
    created_to: CreatedTo = None,
    status: Annotated[_NumberStatus | None, typer.Option(show_default=False)] = None,
    claim_mode: Mode = None,
    number: Annotated[str | None, typer.Option(help="One number, 20 digits.", show_default=False)] = None,
    range_id: Annotated[str | None, typer.Option("--range", help="Id of a range.", show_default=False)] = None,
    history: Annotated[
        str | None,
        typer.Option(
            help="Tell every change of this number instead: when, from, to, by which message, who asked.",
            metavar="NUMBER",
            show_default=False,
        ),
    ] = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List numbers that were assigned, or split off a manual range, in their order.

    Their day is the one of their assignment; while nobody holds them, that of their claim.
    """
    settings = load_settings()
    filters = make_filters(
        settings.environment,
        organization=organization,
        taxpayer=taxpayer,
        year=year,
        days=(created_from, created_to),
        status=status,
        claim_mode=claim_mode,
        number=number if history is None else history,
        range_id=range_id,
        limit=limit,
    )
    if history is None:
        _show(settings, list_numbers, filters, _NUMBERS, as_json=as_json)
        return
    if filters != make_filters(settings.environment, taxpayer=taxpayer, number=history, limit=limit):
        message = "--history tells of one number: of the filters only --taxpayer and --limit go with it"
        raise CommandError(message)
    _show(settings, list_history, filters, _HISTORY, as_json=as_json)
    if not as_json:
        _say_where_it_lies(settings, history, filters)


@waiting.callback(invoke_without_command=True)
def _list_waiting(  # noqa: PLR0913 -- one for each option
    context: typer.Context,
    *,
    organization: Organization = None,
    taxpayer: Taxpayer = None,
    year: Year = None,
    created_from: CreatedFrom = None,
    created_to: CreatedTo = None,
    status: Annotated[_WaitingStatus | None, typer.Option(show_default=False)] = None,
    claim_mode: Mode = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List the issue requests that wait for stock, the first to be served first; their day is when they began to."""
    if context.invoked_subcommand is not None:
        return
    settings = load_settings()
    filters = make_filters(
        settings.environment,
        organization=organization,
        taxpayer=taxpayer,
        year=year,
        days=(created_from, created_to),
        status=status,
        claim_mode=claim_mode,
        limit=limit,
    )
    _show(settings, list_waiting, filters, _WAITING, as_json=as_json)


@waiting.command("cancel")
def _cancel(
    issue_request_id: Annotated[str, typer.Argument(metavar="ID", help="issue_request_id of a waiting request.")],
    reason: Annotated[str, typer.Option(help="Told to whoever asked, as the detail of number-refused.")],
    taxpayer: Taxpayer = None,
) -> None:
    """End a waiting request: it is answered with number-refused, cancelled."""
    hand.cancel(load_settings(), issue_request_id, taxpayer, reason)


def _say_where_it_lies(settings: Settings, number: str, filters: Filters) -> None:
    """Tell of the range that the number came with: of one that nobody ever took, that is the whole story."""
    with reading(settings) as connection:
        found = list(list_ranges(connection, replace(filters, limit=None)))
    for row in found:
        say(
            f"{number} lies in the {row['claim_mode']} range {row['range_id']} of {row['taxpayer_id']}"
            f" ({row['first_number']} to {row['last_number']}, {row['status']}),"
            f" there since {readable(row['created_at'])}"
        )
    if not found:
        say(f"{number} lies in no range that is known here")


def _ranges_with_days_left(now: datetime, connection: Connection, filters: Filters) -> Iterator[Row]:
    """List ranges, each that is drawn from by itself with how many days its stock lasts at the present rate."""
    left = days_left_by_stock(connection, filters.environment, now)
    for row in list_ranges(connection, filters):
        drawn = row["status"] == "active" and row["claim_mode"] == "automatic"
        key = StockKey(str(row["taxpayer_id"]), str(row["channel_mode"]), int(str(row["year"])))
        yield {**row, "days_left": left.get(key) if drawn else None}


def _show(
    settings: Settings,
    listing: Callable[[Connection, Filters], Iterator[Row]],
    filters: Filters,
    layout: Layout,
    *,
    as_json: bool,
) -> None:
    with reading(settings) as connection:
        check_organization(connection, filters)
        if as_json:
            print_json(listing(connection, filters))
        else:
            # One row more than is shown tells whether there are more.
            shown = filters.limit or USUAL_LIMIT
            print_table(listing(connection, replace(filters, limit=shown + 1)), layout, shown)
