"""The filters that listings share: how they are given, and what the database is asked."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy import Connection

from db.listing import Filters, is_registered
from schemas.invoice_number import InvoiceNumber, InvoiceNumberError
from schemas.taxpayer_id import TaxpayerIdError, check_taxpayer_id
from schemas.vocabulary import ClaimMode, Environment
from worker.cli.failures import CommandError
from worker.clock import start_of_day

#: Rows that a table shows where nobody says how many; programs get all.
USUAL_LIMIT = 200

Organization = Annotated[
    str | None,
    typer.Option(help="Code of an organisation.", show_default=False, metavar="CODE"),
]
Taxpayer = Annotated[str | None, typer.Option(help="Tax id.", show_default=False, metavar="TAX-ID")]
Year = Annotated[
    int | None,
    typer.Option(help="Year of the numbers.", min=2000, max=2099, show_default=False),
]
CreatedFrom = Annotated[
    datetime | None,
    typer.Option(help="First day, in China.", formats=["%Y-%m-%d"], show_default=False, metavar="YYYY-MM-DD"),
]
CreatedTo = Annotated[
    datetime | None,
    typer.Option(help="Last day, in China.", formats=["%Y-%m-%d"], show_default=False, metavar="YYYY-MM-DD"),
]
Mode = Annotated[ClaimMode | None, typer.Option(help="How the numbers were claimed.", show_default=False)]
Limit = Annotated[
    int | None,
    typer.Option(help=f"Rows at most. Default: {USUAL_LIMIT} in a table, all as JSON.", min=1, show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON array of objects, for programs.")]


def make_filters(  # noqa: PLR0913 -- one for each option
    environment: Environment,
    *,
    organization: str | None = None,
    taxpayer: str | None = None,
    year: int | None = None,
    days: tuple[datetime | None, datetime | None] = (None, None),
    status: StrEnum | None = None,
    claim_mode: ClaimMode | None = None,
    number: str | None = None,
    range_id: str | None = None,
    limit: int | None = None,
) -> Filters:
    """Make the database's filters of what was given; raises `CommandError` for what can't be meant."""
    first, last = days
    if first is not None and last is not None and last < first:
        message = "--created-to lies before --created-from"
        raise CommandError(message)
    return Filters(
        environment=environment,
        organization=organization,
        taxpayer_id=None if taxpayer is None else checked_taxpayer(taxpayer),
        year=year,
        created_from=None if first is None else start_of_day(first.date()),
        created_before=None if last is None else start_of_day(last.date() + timedelta(days=1)),
        status=status,
        claim_mode=claim_mode,
        number=None if number is None else _parts(number),
        range_id=None if range_id is None else parse_range_id(range_id),
        limit=limit,
    )


def check_organization(connection: Connection, filters: Filters) -> None:
    """Raise `CommandError` for an organisation that nobody registered: an empty table would hide the slip."""
    code = filters.organization
    if code is not None and not is_registered(connection, filters.environment, code):
        message = f"no organisation {code!r} is registered: `fuma organizations list` shows those that are"
        raise CommandError(message)


def checked_taxpayer(text: str) -> str:
    """Give back a tax id that can be one; raises `CommandError` for any other text."""
    try:
        check_taxpayer_id(text)
    except TaxpayerIdError as error:
        message = f"--taxpayer: {error}"
        raise CommandError(message) from None
    return text


def parse_range_id(text: str) -> UUID:
    """Read a range id; raises `CommandError` for what is none."""
    try:
        return UUID(text)
    except ValueError:
        message = f"{text!r} is no range id: `fuma ranges` shows them"
        raise CommandError(message) from None


def _parts(number: str) -> tuple[int, int]:
    try:
        parsed = InvoiceNumber.parse(number)
    except InvoiceNumberError as error:
        message = f"--number: {error}"
        raise CommandError(message) from None
    return parsed.prefix, parsed.sequence
