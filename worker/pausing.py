"""Pausing: an operator stops a taxpayer's automatic stock, and lets it go on (`fuma taxpayers pause`, `resume`).

While a taxpayer is paused its requests wait, nothing is claimed by itself, and waiting limits go on.
Numbers that a hand gives out, bound or named, still work; so do claims by hand, and answers to calls under way.
"""

import structlog
from sqlalchemy import Connection

from db.records import StockKey
from db.stocks import channel_modes, lock_stocks, lock_stocks_of_taxpayers, pause, resume
from worker.answers import Answer
from worker.claiming import Claiming
from worker.clock import Clock
from worker.events import EventWriter
from worker.stocking import Stocking

_log = structlog.get_logger()


class PausingRefusedError(Exception):
    """The taxpayer can't be paused or resumed; the text says why."""


class Pausing:
    """Pauses and resumes taxpayers."""

    def __init__(self, environment: str, clock: Clock, claiming: Claiming) -> None:
        self._environment = environment
        self._clock = clock
        self._claiming = claiming
        self._stocking = Stocking(environment, EventWriter(environment))

    def pause(self, connection: Connection, taxpayer_id: str, reason: str) -> list[Answer]:
        """Stop all stocks of the taxpayer, those of years to come included; paused already, it takes the new reason.

        Raises `PausingRefusedError` for a taxpayer that nobody registered.
        """
        modes = channel_modes(connection, self._environment, taxpayer_id)
        if not modes:
            message = f"no organisation of {taxpayer_id} is registered: `fuma organizations list` shows those that are"
            raise PausingRefusedError(message)
        lock_stocks_of_taxpayers(connection, self._environment, [taxpayer_id])
        # At least one stock has to be there, for others that are made later inherit from it.
        present = {StockKey(taxpayer_id, mode, self._clock.year()) for mode in modes}
        lock_stocks(connection, self._environment, present)
        pause(connection, self._environment, taxpayer_id, because=reason, now=self._clock.now())
        _log.warning("taxpayer-paused", taxpayer_id=taxpayer_id, reason=reason)
        return []

    def resume(self, connection: Connection, taxpayer_id: str, reason: str) -> list[Answer]:
        """Let all stocks of the taxpayer work again: whoever waits is served first, and what ran out is claimed.

        Raises `PausingRefusedError` for a taxpayer that is not paused.
        """
        stocks = lock_stocks_of_taxpayers(connection, self._environment, [taxpayer_id])
        paused = sorted(key for key, stock in stocks.items() if stock.paused)
        if not paused:
            message = f"{taxpayer_id} is not paused"
            raise PausingRefusedError(message)
        resume(connection, self._environment, taxpayer_id)
        now = self._clock.now()
        # A stock that nobody ever asked for is empty, but it did not run out.
        used = [key for key in paused if stocks[key].level != "new"]
        answers = [answer for key in used for answer in self._stocking.serve_waiting(connection, key, now)]
        for key in paused:
            self._claiming.claim_if_needed(connection, key)
        _log.warning("taxpayer-resumed", taxpayer_id=taxpayer_id, reason=reason, answers=len(answers))
        return answers
