"""Refreshing: brings what we hold, what LeQi granted and what the channel lists into step (contract, rule 11).

LeQi can't list ranges, so a refresh replays every claim whose outcome is unknown, counts from our own ledger, expires
what the year rule ends, and compares with the channel's gateway where it has a list.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime
from functools import partial
from typing import cast

import structlog
from sqlalchemy import Connection

from db.asking import ask
from db.claims import undecided_claims
from db.records import Claim
from db.refreshes import (
    StockCount,
    add_refresh,
    count_stock,
    find_refresh,
    registered_taxpayers,
    stocks_of_taxpayer,
)
from db.stocks import channels_of_organizations, lock_stocks
from schemas.events import DifferenceKind
from schemas.requests import RefreshRequested
from worker.answers import Answer
from worker.claim_calls import ClaimCalls
from worker.comparing import Comparing, Difference
from worker.decoding import Item
from worker.events import EventWriter
from worker.expiry import Expiry
from worker.leqi.port import ListedRange, ListingError, RangeListing
from worker.transactions import Transactions

_log = structlog.get_logger()

#: How long the replays of one taxpayer may take together; what is not back by then settles itself later.
REPLAY_SECONDS = 10.0

_REPLAYS_AT_ONCE = 4


class Refreshing:
    """Handles `refresh-requested`."""

    def __init__(
        self,
        environment: str,
        transactions: Transactions,
        claim_calls: ClaimCalls,
        comparing: Comparing,
        expiry: Expiry,
        listing: RangeListing | None,
    ) -> None:
        self._environment = environment
        self._transactions = transactions
        self._claim_calls = claim_calls
        self._comparing = comparing
        self._expiry = expiry
        self._listing = listing
        self._events = EventWriter(environment)
        self._pool = ThreadPoolExecutor(_REPLAYS_AT_ONCE, thread_name_prefix="refresh-replay")

    def handle(self, items: Sequence[Item]) -> None:
        """Refresh what each request names; returns when every answer is committed."""
        for item in items:
            request = cast("RefreshRequested", item.request)
            taxpayers = self._concerned(request)
            for taxpayer_id in taxpayers:
                self._refresh(taxpayer_id, request.refresh_id, item)
            if not taxpayers:
                self._transactions.run(partial(self._answer_nobody, item))

    def close(self) -> None:
        """Let go of the threads that replay."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _concerned(self, request: RefreshRequested) -> list[str]:
        with self._transactions.engine.begin() as connection:
            if request.organization is not None:
                channels = ask(connection, channels_of_organizations(self._environment, [request.organization]))
                return [channel.taxpayer_id for channel in channels.values()]
            registered = registered_taxpayers(connection, self._environment)
        if request.taxpayer_id is not None:
            return [taxpayer_id for taxpayer_id in registered if taxpayer_id == request.taxpayer_id]
        return registered

    def _refresh(self, taxpayer_id: str, refresh_id: str, item: Item) -> None:
        with self._transactions.engine.begin() as connection:
            answered = find_refresh(connection, self._environment, taxpayer_id, refresh_id) is not None
            undecided = undecided_claims(connection, self._environment, taxpayer_id)
        listed: list[ListedRange] | Difference | None = None
        if not answered:
            self._replay(undecided)
            listed = self._list(taxpayer_id)
        self._transactions.run(
            lambda connection: self._answer(connection, taxpayer_id, refresh_id, item, undecided, listed),
        )

    def _replay(self, claims: Sequence[Claim]) -> None:
        """Replay claims whose outcome is unknown, each once."""
        replays = [self._pool.submit(self._claim_calls.call_now, each.taxpayer_id, each.claim_id) for each in claims]
        done, late = wait(replays, timeout=REPLAY_SECONDS)
        for replay in late:
            replay.cancel()
        for replay in done:
            replay.result()
        if late:
            _log.warning("refresh-replays-late", claims=len(late))

    def _list(self, taxpayer_id: str) -> list[ListedRange] | Difference | None:
        if self._listing is None:
            return None
        try:
            return self._listing.ranges(taxpayer_id)
        except ListingError as error:
            _log.warning("listing-failed", taxpayer_id=taxpayer_id, detail=str(error))
            return Difference(DifferenceKind.LISTING_UNAVAILABLE, None, None, None, None)

    def _answer(
        self,
        connection: Connection,
        taxpayer_id: str,
        refresh_id: str,
        item: Item,
        undecided: Sequence[Claim],
        listed: list[ListedRange] | Difference | None,
    ) -> list[Answer]:
        keys = stocks_of_taxpayer(connection, self._environment, taxpayer_id)
        lock_stocks(connection, self._environment, keys)
        before = find_refresh(connection, self._environment, taxpayer_id, refresh_id)
        if before is not None:
            return [self._told(item, refresh_id, taxpayer_id, *before)]
        now = self._transactions.clock.now()
        differences: list[Difference] = []
        answers: list[Answer] = []
        if isinstance(listed, Difference):
            differences = [listed]
        elif listed is not None:
            compared = self._comparing.compare(connection, taxpayer_id, listed, now)
            differences, answers = compared.differences, compared.answers
        expired = self._expiry.expire(connection, taxpayer_id)
        left = undecided_claims(connection, self._environment, taxpayer_id)
        left_ids = {claim.claim_id for claim in left}
        data = {
            **count_stock(connection, self._environment, taxpayer_id).as_data(),
            "resolved_claims": sum(claim.claim_id not in left_ids for claim in undecided),
            "unresolved_claims": len(left),
            "differences": [difference.as_data() for difference in differences],
        }
        add_refresh(connection, self._environment, taxpayer_id, refresh_id, data, now=now)
        return [*answers, *expired, self._told(item, refresh_id, taxpayer_id, now, data)]

    def _told(
        self,
        item: Item,
        refresh_id: str,
        taxpayer_id: str,
        answered_at: datetime,
        data: Mapping[str, object],
    ) -> Answer:
        event = self._events.range_refreshed(
            refresh_id,
            taxpayer_id,
            data,
            answered_at=answered_at,
            traceparent=item.event.traceparent,
        )
        return Answer(event, item.form, item.group)

    def _answer_nobody(self, item: Item, _: Connection) -> list[Answer]:
        """Answer a refresh that concerns nobody: its organisation or taxpayer is not registered, or none is."""
        request = cast("RefreshRequested", item.request)
        none = StockCount(ranges=0, claimed=0, remaining=0, expired=0, foreign=0)
        unknown = Difference(DifferenceKind.NOT_REGISTERED, None, None, None, None)
        event = self._events.range_refreshed(
            request.refresh_id,
            request.taxpayer_id,
            {
                **none.as_data(),
                "resolved_claims": 0,
                "unresolved_claims": 0,
                "differences": [unknown.as_data()],
            },
            answered_at=self._transactions.clock.now(),
            traceparent=item.event.traceparent,
        )
        return [Answer(event, item.form, item.group)]
