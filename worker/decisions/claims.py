"""When a claim is made, asked again, or followed by a new one (contract, rules 8 and 9)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import ceil

from db.records import OrganizationChannel, Stock, Use
from worker.decisions.forecast import most_needed

#: LeQi's throttle message asks for this wait.
THROTTLE_WAIT = timedelta(minutes=5)

#: How long one claim takes at the worst of a good day, in seconds; taken for granted where none was made yet.
REFILL_SECONDS = 60.0

#: The most that one call of LeQi grants.
LARGEST_CLAIM = 5000

#: How long an old-year grant in January, or an unresolved claim, waits for its next try.
LONG_WAIT = timedelta(minutes=10)


#: The replay whose unknown outcome makes a claim unresolved: it no longer stands in the way of a new one.
UNRESOLVED_FROM_REPLAY = 3

_LONGEST_REPLAY_WAIT = 60.0
_JITTER = 0.2
_FIRST_RECLAIM_WAIT = 10
_LONGEST_RECLAIM_WAIT = 600

#: What a claim by demand lacks of its target is worth another one from this share of the target on.
_WORTH_A_CLAIM = 0.1

#: A claim in December is for what the forecast says of the rest of the year, and this much more.
_LATE_IN_THE_YEAR = timedelta(days=31)
_YEAR_END_MARGIN = 1.25


@dataclass(frozen=True, slots=True)
class ClaimTerms:
    """What the settings say of the size of automatic claims."""

    #: The least that is claimed: by demand, and late in the year.
    floor: int = 100
    #: For how many of the busiest hours a claim by demand is to last.
    hours: float = 1.0
    #: The most that is asked for after a grant of another year than the one needed.
    cautious: int = 100


@dataclass(frozen=True, slots=True)
class Hunger:
    """What a stock has and needs, read under its lock: what the size of its next claim goes by."""

    #: Automatic numbers that it can give out now, and requests that wait for it.
    remaining: int
    waiting: int
    use: Use
    #: How long a claim takes.
    refill_seconds: float
    #: From when and until when its numbers can be used.
    year_begins: datetime
    year_ends: datetime


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


def refill_seconds(latencies: Sequence[timedelta]) -> float:
    """How long a claim takes, by how long the last ones took; `REFILL_SECONDS` at the most, and where none is known.

    One that took longer was lost on its way or throttled: that is no pace to plan for.
    """
    longest = max(latencies, default=timedelta(seconds=REFILL_SECONDS))
    return min(max(longest.total_seconds(), 0.0), REFILL_SECONDS)


def low_at(channel: OrganizationChannel, claimed: int, hunger: Hunger, terms: ClaimTerms) -> int:
    """At how many remaining numbers a stock is low, after a claim brought `claimed` numbers; 0: only when it is empty.

    The channel's share of the claim; sized by demand, at least what the busiest hour takes while two claims are made.
    Where LeQi's limit cut the claim far short of its target, the stock is low with what it has got: the next claim
    follows at once.
    """
    if channel.low_threshold == 0:
        return 0
    level = _ordinary_level(channel, claimed, hunger)
    if channel.claim_sizing == "demand" and claimed == LARGEST_CLAIM:
        target = _target(hunger, terms)
        has = hunger.remaining - hunger.waiting
        if level + target - has >= max(_floor(channel, terms), target * _WORTH_A_CLAIM):
            return max(level, has)
    return level


def automatic_quantity(
    stock: Stock,
    channel: OrganizationChannel | None,
    hunger: Hunger,
    *,
    terms: ClaimTerms,
    years: tuple[int, ...],
    now: datetime,
    opening: bool = False,
) -> int | None:
    """How many numbers to claim for the stock now; None for none (the stock is locked, no claim of it is open).

    By the channel's fixed quantity, or by demand; cut to what the stock's year can still use, and never below a floor
    while the stock is empty.
    A stock that never had a number is claimed for when its year is being opened, before anybody asks.
    """
    if channel is None or not _may_claim(stock, channel, years, now, opening=opening):
        return None
    wanted = _by_demand(stock, channel, hunger, terms) if channel.claim_sizing == "demand" else channel.claim_quantity
    lacking = lacks_of_the_year(hunger, now)
    if lacking is not None:
        wanted = min(wanted, max(lacking, _floor(channel, terms)))
    return min(wanted, limit_of_next_claim(stock, hunger.year_begins, now) or wanted)


def limit_of_next_claim(stock: Stock, year_begins: datetime, now: datetime) -> int | None:
    """The most that the stock may claim next, after a grant of another year; None for no limit.

    What was learnt before the stock's year began holds no longer in it: then the authority may grant that year.
    A limit that was set in the year put the next claim off by `LONG_WAIT`, so later than any set before.
    """
    not_before = stock.claim_not_before
    if now >= year_begins and (not_before is None or not_before < year_begins + LONG_WAIT):
        return None
    return stock.claim_at_most


def is_low_no_more(
    stock: Stock,
    channel: OrganizationChannel | None,
    hunger: Hunger,
    now: datetime,
) -> bool:
    """Whether a stock that came down to low needs no claim before it is empty.

    Its policy was changed to that, or it has enough for the rest of the year.
    """
    if stock.level != "low" or channel is None:
        return False
    lacking = lacks_of_the_year(hunger, now)
    return channel.low_threshold == 0 or (lacking is not None and lacking <= 0)


def lacks_of_the_year(hunger: Hunger, now: datetime) -> int | None:
    """How many numbers a stock lacks to last until its year ends; None before December, and where no use is known."""
    needed = most_needed(hunger.use, now=now, ends=hunger.year_ends)
    if needed is None or hunger.year_ends - now > _LATE_IN_THE_YEAR:
        return None
    return ceil(needed * _YEAR_END_MARGIN) + hunger.waiting - hunger.remaining


def _may_claim(
    stock: Stock,
    channel: OrganizationChannel,
    years: tuple[int, ...],
    now: datetime,
    *,
    opening: bool,
) -> bool:
    if not channel.automatic_claims or stock.paused or stock.key.year not in years:
        return False
    if stock.claim_not_before is not None and stock.claim_not_before > now:
        return False
    if opening and stock.level == "new":
        return True
    return stock.level in {"low", "exhausted"}


def _by_demand(stock: Stock, channel: OrganizationChannel, hunger: Hunger, terms: ClaimTerms) -> int:
    """What covers the target time on top of the level at which the stock is low; the policy's quantity at first."""
    if hunger.use.taken == 0:
        return channel.claim_quantity
    level = _ordinary_level(channel, stock.last_claimed or channel.claim_quantity, hunger)
    lacking = _target(hunger, terms) + hunger.waiting - max(0, hunger.remaining - level)
    return min(max(lacking, _floor(channel, terms)), LARGEST_CLAIM)


def _ordinary_level(channel: OrganizationChannel, claimed: int, hunger: Hunger) -> int:
    share = int(channel.low_threshold * claimed)
    if channel.claim_sizing == "demand":
        return max(share, _taken_while_refilling(hunger))
    return share


def _target(hunger: Hunger, terms: ClaimTerms) -> int:
    return max(ceil(hunger.use.busiest_hour * terms.hours), _taken_while_refilling(hunger))


def _taken_while_refilling(hunger: Hunger) -> int:
    """What the busiest hour takes while two claims are made."""
    return ceil(hunger.use.busiest_hour * 2 * hunger.refill_seconds / 3600)


def _floor(channel: OrganizationChannel, terms: ClaimTerms) -> int:
    """The least that is worth a call; a policy may ask for less."""
    return min(terms.floor, channel.claim_quantity)
