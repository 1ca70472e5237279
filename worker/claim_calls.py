"""Claim calls: takes claims that are due, asks LeQi outside any transaction, and settles what it answers."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import structlog
from sqlalchemy.exc import DBAPIError

from db.claims import take_turn
from db.engine import constraint, sqlstate
from db.records import Claim
from schemas.vocabulary import ChannelMode
from worker.leqi.port import Authority, ClaimCall
from worker.settling import Settling
from worker.transactions import Transactions

_log = structlog.get_logger()

#: A call's turn: longer than the client's time limits and a slow commit together. After it, the claim is due again.
TURN = timedelta(seconds=60)

#: Seconds between the tries to store an answer: a database that comes back soon finds it still in hand.
_SETTLING_PAUSES = (0.2, 1.0, 3.0, 5.0)


class ClaimCalls:
    """Calls LeQi for claims, at most `concurrency` at a time in this process."""

    def __init__(
        self,
        environment: str,
        direct_unit_id: str,
        authority: Authority,
        transactions: Transactions,
        settling: Settling,
        concurrency: int,
    ) -> None:
        self._environment = environment
        self._direct_unit_id = direct_unit_id
        self._authority = authority
        self._transactions = transactions
        self._settling = settling
        self._concurrency = concurrency
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="claim-call")
        self._busy = 0
        self._changed = threading.Condition()
        #: Called when a call ended, so that the next due claim need not wait.
        self.when_done: Callable[[], None] = lambda: None

    def call_due(self) -> int:
        """Start a call for each claim that is due and free, as far as the throttle and this process allow."""
        with self._changed:
            free = self._concurrency - self._busy
        if free <= 0:
            return 0
        taken = self._take(most=free)
        with self._changed:
            self._busy += len(taken)
        for claim in taken:
            self._pool.submit(self._call_and_settle, claim).add_done_callback(self._ended)
        return len(taken)

    def call_now(self, taxpayer_id: str, claim_id: str) -> bool:
        """Replay one undecided claim at once and settle it; False where it is somebody else's turn or throttled."""
        taken = self._take(most=1, only=(taxpayer_id, claim_id))
        with self._changed:
            self._busy += len(taken)
        try:
            for claim in taken:
                self._call_and_settle(claim)
        finally:
            with self._changed:
                self._busy -= len(taken)
                self._changed.notify_all()
        return bool(taken)

    def close(self, timeout: float) -> bool:
        """Wait for the calls under way; False where some go on: their claims are due again when the turn is over."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        ends_at = time.monotonic() + timeout
        with self._changed:
            ended = self._changed.wait_for(lambda: self._busy == 0, max(0.0, ends_at - time.monotonic()))
        if ended:
            self._authority.close()
        return ended

    def _take(self, *, most: int, only: tuple[str, str] | None = None) -> list[Claim]:
        now = self._transactions.clock.now()
        with self._transactions.engine.begin() as connection:
            return take_turn(
                connection,
                self._environment,
                self._direct_unit_id,
                most=most,
                now=now,
                until=now + TURN,
                only=only,
            )

    def _call_and_settle(self, claim: Claim) -> None:
        call = ClaimCall(
            claim.taxpayer_id,
            ChannelMode(claim.channel_mode),
            claim.using_unit_id,
            claim.quantity,
            claim.business_serial,
        )
        answer = self._authority.claim(call)
        _log.info("claim-answered", claim_id=claim.claim_id, answer=type(answer).__name__.lower())
        for attempt, pause in enumerate((*_SETTLING_PAUSES, 0.0), start=1):
            try:
                self._transactions.run(lambda connection: self._settling.settle(connection, claim, answer))
            except DBAPIError as error:
                # A grant whose commit fails is not lost: the claim is replayed when its turn is over.
                _log.warning(
                    "claim-settling-failed",
                    claim_id=claim.claim_id,
                    attempt=attempt,
                    sqlstate=sqlstate(error),
                    constraint=constraint(error),
                )
                time.sleep(pause)
            else:
                return

    def _ended(self, call: "Future[None]") -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()
        if not call.cancelled() and (error := call.exception()) is not None:
            _log.error("claim-call-failed", error=type(error).__name__)
        self.when_done()
