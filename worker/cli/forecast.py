"""`fuma forecast`: when each stock will be empty at the present rate of use, and what the year's end will waste."""

from collections.abc import Iterable
from datetime import datetime
from math import inf

from sqlalchemy import Connection

from db.forecast import StockInUse, stocks_in_use
from db.records import StockKey
from db.usage import WINDOW
from worker.cli.database import reading
from worker.cli.filters import AsJson, Limit, Organization, Taxpayer, Year, check_organization, make_filters
from worker.cli.output import Layout, print_json, print_table
from worker.clock import Clock, china_date, start_of_year
from worker.decisions.forecast import Forecast, foresee
from worker.settings import load_settings

_FORECAST = Layout(
    "stocks",
    (
        ("organizations", "taxpayer_id"),
        ("channel_mode", "year"),
        ("remaining", "waiting"),
        ("per_day", "days_left"),
        ("empty_at", "level"),
        ("wasted_at_year_end", "paused"),
    ),
)


def forecast(
    *,
    organization: Organization = None,
    taxpayer: Taxpayer = None,
    year: Year = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Tell when each stock of this year and the next will be empty at the rate of the last seven days, worst first.

    A stock that somebody waits for comes first, one that nothing is taken from last.
    What its year's end wastes is counted at the same rate, as if nothing more were claimed.
    """
    settings = load_settings()
    now = Clock(settings.clock).now()
    present = china_date(now).year
    filters = make_filters(settings.environment, organization=organization, taxpayer=taxpayer, limit=limit)
    with reading(settings) as connection:
        check_organization(connection, filters)
        stocks = stocks_in_use(
            connection,
            settings.environment,
            since=now - WINDOW,
            years=[present, present + 1] if year is None else [year],
            taxpayer_id=filters.taxpayer_id,
            organization=filters.organization,
        )
    rows = worst_first(stocks, now)
    if as_json:
        print_json(rows[:limit])
    else:
        print_table(rows, _FORECAST, limit or len(rows))


def worst_first(stocks: Iterable[StockInUse], now: datetime) -> list[dict[str, object]]:
    """Give each stock with its forecast: those that somebody waits for, then the first to be empty."""
    foreseen = [(stock, _foresee(stock, now)) for stock in stocks]
    foreseen.sort(key=lambda each: _badness(*each))
    return [_as_row(stock, told) for stock, told in foreseen]


def days_left_by_stock(connection: Connection, environment: str, now: datetime) -> dict[StockKey, float | None]:
    """Tell for every stock how long it lasts."""
    stocks = stocks_in_use(connection, environment, since=now - WINDOW)
    return {stock.key: _foresee(stock, now).days_left for stock in stocks}


def _foresee(stock: StockInUse, now: datetime) -> Forecast:
    year = stock.key.year
    return foresee(stock.remaining, stock.use, now=now, begins=start_of_year(year), ends=start_of_year(year + 1))


def _badness(stock: StockInUse, told: Forecast) -> tuple[bool, float, StockKey]:
    return stock.waiting == 0, inf if told.days_left is None else told.days_left, stock.key


def _as_row(stock: StockInUse, told: Forecast) -> dict[str, object]:
    return {
        "organizations": list(stock.organizations),
        "taxpayer_id": stock.key.taxpayer_id,
        "channel_mode": stock.key.channel_mode,
        "year": stock.key.year,
        "remaining": stock.remaining,
        "waiting": stock.waiting,
        "per_day": told.per_day,
        "days_left": told.days_left,
        "empty_at": told.empty_at,
        "wasted_at_year_end": told.wasted,
        "level": stock.level,
        "paused": stock.paused,
    }
