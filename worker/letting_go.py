"""Letting go: requests stop waiting for a number, past their limit or at an operator's word (contract, rule 2)."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from db.issue_requests import close_requests, find_waiting, overdue_requests, stocks_with_overdue_requests
from db.records import StockKey, WaitingRequest
from db.stocks import lock_stocks
from schemas.cloudevents import Form
from schemas.reasons import Reason
from worker.answers import Answer
from worker.clock import Clock
from worker.events import EventWriter

#: Waiting requests that one transaction ends at most.
_MOST_AT_ONCE = 500


class LettingGo:
    """Ends requests that wait, each with its `number-refused`."""

    def __init__(self, environment: str, clock: Clock) -> None:
        self._environment = environment
        self._clock = clock
        self._events = EventWriter(environment)

    def end_overdue(self, connection: Connection, waiting_limit: timedelta) -> list[Answer]:
        """Refuse requests that have waited for stock past their limit: `no-stock`."""
        now = self._clock.now()
        before = now - waiting_limit
        keys = stocks_with_overdue_requests(connection, self._environment, before=before, most=100)
        lock_stocks(connection, self._environment, keys)
        answers: list[Answer] = []
        for key in keys:
            overdue = overdue_requests(connection, self._environment, key, before=before, most=_MOST_AT_ONCE)
            detail = "no range came in time: see the claims of this taxpayer, then ask again"
            answers += self._end(connection, overdue, Reason.NO_STOCK, detail, now)
        return answers

    def cancel(
        self,
        connection: Connection,
        issue_request_id: str,
        taxpayer_id: str | None,
        reason: str,
    ) -> list[Answer] | list[WaitingRequest]:
        """End one waiting request at an operator's word.

        Gives its answer to publish; or, where it can't be told which is meant, the requests found: none or several.
        """
        found = find_waiting(connection, self._environment, issue_request_id, taxpayer_id)
        if len(found) != 1:
            return found
        lock_stocks(connection, self._environment, [_stock_of(found[0])])
        return self._end(connection, found, Reason.CANCELLED, reason, self._clock.now())

    def _end(
        self,
        connection: Connection,
        requests: Sequence[WaitingRequest],
        reason: Reason,
        detail: str,
        now: datetime,
    ) -> list[Answer]:
        by_taxpayer: dict[str, list[WaitingRequest]] = {}
        for request in requests:
            by_taxpayer.setdefault(request.key.taxpayer_id, []).append(request)
        for taxpayer_id, ended in by_taxpayer.items():
            ids = [each.key.issue_request_id for each in ended]
            close_requests(connection, self._environment, taxpayer_id, ids, because=reason)
        return [
            Answer(
                self._events.number_refused(
                    request.key.issue_request_id,
                    organization=request.organization,
                    taxpayer_id=request.key.taxpayer_id,
                    reason=reason,
                    detail=detail,
                    now=now,
                    traceparent=request.traceparent,
                ),
                Form(request.form),
            )
            for request in requests
        ]


def _stock_of(request: WaitingRequest) -> StockKey:
    return StockKey(request.key.taxpayer_id, request.channel_mode, request.issue_date.year)
