"""When a claim is made, asked again, or followed by a new one (contract, rules 8 and 9)."""

from datetime import date, datetime, timedelta

from db.records import OrganizationChannel, Stock

#: LeQi's throttle message asks for this wait.
THROTTLE_WAIT = timedelta(minutes=5)

#: How long an old-year grant in January, or an unresolved claim, waits for its next try.
LONG_WAIT = timedelta(minutes=10)

#: How long a claim for next year waits that was made too early: it brought this year's numbers.
EARLY_WAIT = timedelta(days=1)

#: The most that is asked for after a grant of another year than the one needed.
CAUTIOUS_QUANTITY = 100

#: The replay whose unknown outcome makes a claim unresolved: it no longer stands in the way of a new one.
UNRESOLVED_FROM_REPLAY = 3

_LONGEST_REPLAY_WAIT = 60.0
_JITTER = 0.2
_FIRST_RECLAIM_WAIT = 10
_LONGEST_RECLAIM_WAIT = 600


def replay_wait(unknown_outcomes: int, chance: float) -> timedelta:
    """How long to wait after the n-th unknown outcome: 1, 2, 4 … 60 s, each give or take a fifth, then 10 min.

    `chance` lies in [0, 1).
    """
    seconds = 2.0 ** min(unknown_outcomes - 1, 16)
    if seconds >= 2 * _LONGEST_REPLAY_WAIT:
        return LONG_WAIT
    return timedelta(seconds=min(seconds, _LONGEST_REPLAY_WAIT) * (1 + _JITTER * (2 * chance - 1)))


def is_unresolved(unknown_outcomes: int) -> bool:
    """Whether so many unknown outcomes (the call's and its replays') make the claim unresolved."""
    return unknown_outcomes > UNRESOLVED_FROM_REPLAY


def reclaim_wait(failed_claims: int) -> timedelta:
    """How long after the n-th refused or bad claim in a row a new one follows: 10 s, doubling to 10 min."""
    return timedelta(seconds=min(_FIRST_RECLAIM_WAIT * 2 ** min(failed_claims - 1, 16), _LONGEST_RECLAIM_WAIT))


def claimable_years(today: date, next_year_from: tuple[int, int] | None) -> tuple[int, ...]:
    """For which years automatic claims are made on China's `today`: this one, the next from a set month and day."""
    if next_year_from is not None and (today.month, today.day) >= next_year_from:
        return (today.year, today.year + 1)
    return (today.year,)


def automatic_quantity(
    stock: Stock,
    channel: OrganizationChannel | None,
    *,
    years: tuple[int, ...],
    now: datetime,
) -> int | None:
    """How many numbers to claim for the stock now; None for none (the stock is locked, no claim of it is open)."""
    if stock.level != "exhausted" or stock.key.year not in years:
        return None
    if channel is None or not channel.automatic_claims:
        return None
    if stock.claim_not_before is not None and stock.claim_not_before > now:
        return None
    return min(channel.claim_quantity, stock.claim_at_most or channel.claim_quantity)
