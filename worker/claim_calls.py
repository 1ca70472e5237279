"""Claim calls: takes claims that are due, asks LeQi outside any transaction, and settles what it answers."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import structlog

from db.claims import take_turn
from db.engine import DATABASE_ERRORS, constraint, is_data_error, sqlstate
from db.records import Claim
from schemas.vocabulary import ChannelMode
from worker.crash_points import CrashPoint, reached
from worker.leqi.port import Answer, Authority, ClaimCall, Granted, Unknown
from worker.settling import Settling
from worker.transactions import Transactions
from worker.waits import Waits

_log = structlog.get_logger()

#: A call's turn: longer than the client's time limits and a slow commit together. After it, the claim is due again.
TURN = timedelta(seconds=60)

#: Tries to store an answer, and the seconds between them: a database that comes back soon finds it still in hand.
_SETTLING_TRIES = 6
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 4.0


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
        answer = self._ask(claim)
        fault = self._settle(claim, answer)
        if fault is not None:
            self._put_off(claim, answer, fault)

    def _ask(self, claim: Claim) -> Answer:
        call = ClaimCall(
            claim.taxpayer_id,
            ChannelMode(claim.channel_mode),
            claim.using_unit_id,
            claim.quantity,
            claim.business_serial,
        )
        reached(CrashPoint.BEFORE_CALL)
        try:
            answer = self._authority.claim(call)
        except Exception as error:  # noqa: BLE001 -- logged whole
            # A fault of ours must not leave the claim without a word; whether LeQi granted, nobody knows.
            _log.exception("claim-call-failed", claim_id=claim.claim_id)
            return Unknown(f"calling LeQi failed ({type(error).__name__}): see the worker's log")
        if isinstance(answer, Granted):
            reached(CrashPoint.AFTER_GRANT)
        _log.info("claim-answered", claim_id=claim.claim_id, answer=type(answer).__name__.lower())
        return answer

    def _settle(self, claim: Claim, answer: Answer) -> str | None:
        """Store an answer; gives what keeps it from being stored, after as many tries as may help."""
        waits = Waits(_FIRST_PAUSE, _LONGEST_PAUSE)
        fault: str | None = None
        for attempt in range(1, _SETTLING_TRIES + 1):
            try:
                self._transactions.run(lambda connection: self._settling.settle(connection, claim, answer))
            except DATABASE_ERRORS as error:
                said = constraint(error) or sqlstate(error) or "no answer"
                _log.warning(
                    "claim-settling-failed",
                    claim_id=claim.claim_id,
                    attempt=attempt,
                    sqlstate=sqlstate(error),
                    constraint=constraint(error),
                )
                # A refusal of the rows is tried once more: another worker may have changed what this one read.
                if is_data_error(error) and said == fault:
                    return said
                fault = said
            except Exception as error:  # noqa: BLE001 -- logged whole
                # A fault of ours must not leave the claim without a word either.
                _log.exception("claim-settling-failed", claim_id=claim.claim_id, attempt=attempt)
                return type(error).__name__
            else:
                return None
            if attempt < _SETTLING_TRIES:
                time.sleep(waits.following())
        return fault

    def _put_off(self, claim: Claim, answer: Answer, fault: str) -> None:
        """Record that an answer can't be stored, so that the claim waits ever longer, and is told of."""
        try:
            self._transactions.run(lambda connection: self._settling.put_off(connection, claim, answer, fault))
        except DATABASE_ERRORS as error:
            # The database is away, or takes nothing of this claim: it is due again when its turn is over.
            _log.error(
                "claim-not-put-off", claim_id=claim.claim_id, sqlstate=sqlstate(error), constraint=constraint(error)
            )

    def _ended(self, call: "Future[None]") -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()
        if not call.cancelled() and (error := call.exception()) is not None:
            _log.error("claim-call-failed", error=type(error).__name__)
        self.when_done()
