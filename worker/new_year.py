"""New Year: whoever was active gets a range of the new year at once, before its first invoice asks for one."""

from sqlalchemy import Connection

from db.stocks import lock_stocks, unopened_stocks
from worker.answers import Answer
from worker.claiming import Claiming
from worker.clock import Clock, china_date
from worker.decisions.claims import claimable_years

#: Stocks that one look takes up.
_MOST_AT_ONCE = 100


class NewYear:
    """Opens the stocks of a year: from China's midnight on, or earlier from the day that is set."""

    def __init__(
        self,
        environment: str,
        clock: Clock,
        claiming: Claiming,
        next_year_from: tuple[int, int] | None,
    ) -> None:
        self._environment = environment
        self._clock = clock
        self._claiming = claiming
        self._next_year_from = next_year_from

    def open_stocks(self, connection: Connection) -> list[Answer]:
        """Record the first claim of the year for each stock of those who had automatic ranges of the year before.

        Not for whom nothing is claimed by itself, or who is paused. Where the claim brought nothing, or the old year
        still (contract, rule 9), the stock is as new as before, and a later look makes the next one.
        Several workers may look at once: the stock's lock and its open claim let one of them claim.
        """
        now = self._clock.now()
        keys = [
            key
            for year in claimable_years(china_date(now), self._next_year_from)
            for key in unopened_stocks(connection, self._environment, year, now=now, most=_MOST_AT_ONCE)
        ]
        lock_stocks(connection, self._environment, keys)
        for key in keys:
            self._claiming.claim_if_needed(connection, key, opening=True)
        return []
