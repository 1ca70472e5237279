"""Watching: reads from time to time what the database holds, for `/metrics`, on a thread of its own.

Neither a scrape nor the work of a worker waits for it: it has one connection, and each look ends within seconds.
Of each stock three figures are shown, for the worst `MOST_SHOWN` stocks of this year and the next.
"""

import threading
from collections.abc import Callable
from math import inf
from typing import Final

import structlog
from sqlalchemy import Connection, Engine, text

from db.engine import DATABASE_ERRORS
from db.forecast import StockInUse, stocks_in_use
from db.outstanding import outstanding
from db.usage import WINDOW
from worker.clock import Clock, china_date, start_of_year
from worker.decisions.forecast import foresee
from worker.metrics import Figures, Metrics, StockFigures

MOST_SHOWN: Final = 200
_SECONDS: Final = 15.0
_LONGEST_LOOK: Final = "5s"

_log = structlog.get_logger()


class Watching:
    """Looks every quarter of a minute, until it is stopped."""

    def __init__(
        self, engine: Engine, environment: str, clock: Clock, metrics: Metrics, unready: Callable[[], str | None]
    ) -> None:
        self._engine = engine
        self._environment = environment
        self._clock = clock
        self._metrics = metrics
        self._unready = unready
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watching", daemon=True)

    def start(self) -> None:
        """Begin; it looks once at the start."""
        self._thread.start()

    def stop(self) -> None:
        """End. A look under way ends by itself: it changes nothing."""
        self._stopping.set()

    def look(self) -> None:
        """Look once; where the database does not answer in time, what was seen before stays."""
        self._metrics.ready = self._unready() is None
        try:
            with self._engine.connect() as connection, connection.begin():
                connection.execute(text("SET TRANSACTION READ ONLY"))
                connection.execute(text(f"SET LOCAL statement_timeout = '{_LONGEST_LOOK}'"))
                self._metrics.figures = figures(connection, self._environment, self._clock)
        except DATABASE_ERRORS as error:
            _log.debug("figures-not-read", kind=type(error).__name__)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.look()
            self._stopping.wait(_SECONDS)


def figures(connection: Connection, environment: str, clock: Clock) -> Figures:
    """Read what the database holds now."""
    now = clock.now()
    year = china_date(now).year
    stocks = [
        (stock, foresee(stock.remaining, stock.use, now=now, begins=start_of_year(each), ends=start_of_year(each + 1)))
        for stock in stocks_in_use(connection, environment, since=now - WINDOW, years=[year, year + 1])
        for each in [stock.key.year]
    ]
    stocks.sort(key=lambda told: _badness(told[0], told[1].days_left))
    shown = tuple(
        StockFigures(
            taxpayer_id=stock.key.taxpayer_id,
            channel_mode=stock.key.channel_mode,
            year=stock.key.year,
            remaining=stock.remaining,
            days_left=told.days_left,
            waiting=stock.waiting,
        )
        for stock, told in stocks[:MOST_SHOWN]
    )
    left = outstanding(connection, environment, now)
    return Figures(
        stocks=shown,
        stocks_in_all=len(stocks),
        waiting=left.waiting,
        waiting_oldest=left.waiting_oldest,
        outbox=left.outbox,
        outbox_oldest=left.outbox_oldest,
        claims_open=left.claims_open,
        claims_unresolved=left.claims_unresolved,
        claims_unresolved_oldest=left.claims_unresolved_oldest,
        throttled=left.throttled,
    )


def _badness(stock: StockInUse, days_left: float | None) -> tuple[bool, float, int]:
    return stock.waiting == 0, inf if days_left is None else days_left, stock.remaining
