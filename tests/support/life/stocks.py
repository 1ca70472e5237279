"""The model's foundation: which numbers a stock has, who takes the next, and when a stock is low or empty.

Written from the contract and the domain page alone; it shares nothing with the worker's own decisions.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import ceil

from tests.support.life.cast import CHANNELS, Stock, china_year, new_year
from tests.support.life.expected import Expected
from tests.support.life.ledger import UNTOUCHED, Claim, Number, Range, Request, Shelf

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


def stamp(instant: datetime | None) -> str | None:
    """Write an instant as events do."""
    return None if instant is None else instant.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


class Stocks:
    """All that is known, and what a stock does with it."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.shelves: dict[Stock, Shelf] = {}
        self.ranges: list[Range] = []
        self.requests: dict[tuple[str, str], Request] = {}
        self.claims: list[Claim] = []
        self.paused: set[str] = set()
        #: How many automatic numbers were taken, by taxpayer, mode and hour.
        self.usage: Counter[tuple[str, str, datetime]] = Counter()
        self.expected: list[Expected] = []
        self._turns = 0

    def tell(self, topic: str, fact: object = None, **data: object) -> None:
        """Expect an event."""
        self.expected.append(Expected(topic, data, None if fact is None else (topic, fact)))

    # Numbers.

    def numbers(self) -> Iterator[Number]:
        """All numbers that lie in a range which is not quarantined."""
        for each in self.ranges:
            if each.status != "quarantined":
                yield from each.numbers.values()

    def find(self, text: str) -> Number | None:
        """Find a number in a range that is held, or listed."""
        return next((each.numbers[text] for each in self.held() if text in each.numbers), None)

    def held(self) -> Iterator[Range]:
        """All ranges but the quarantined ones."""
        return (each for each in self.ranges if each.status != "quarantined")

    def move(self, number: Number, state: str) -> None:
        """Put a number into another state."""
        number.states.append(state)
        if state not in {"assigned", "held", "used"}:
            number.holder = number.issue_date = number.assigned_at = None
        if state != "bound":
            number.bound_to = None

    # Stocks.

    def shelf(self, stock: Stock) -> Shelf:
        """Give the stock's state; it is new when it is first asked for."""
        return self.shelves.setdefault(stock, Shelf())

    def open_ranges(self, stock: Stock) -> list[Range]:
        """The ranges that a stock gives numbers from by itself, the oldest first."""
        found = [each for each in self.ranges if each.stock == stock and each.status == "active" and not each.manual]
        return sorted(found, key=lambda each: (each.born, each.first))

    def remaining(self, stock: Stock) -> int:
        """Count what a stock can give out by itself."""
        return sum(each.count(UNTOUCHED, "available") for each in self.open_ranges(stock))

    def queue(self, stock: Stock) -> list[Request]:
        """Who waits for a stock, in the order of their turns."""
        found = [each for each in self.requests.values() if each.state == "waiting" and each.stock == stock]
        return sorted(found, key=lambda each: each.turn or 0)

    def take(self, stock: Stock) -> Number | None:
        """Take the next number: one that came back before an untouched one."""
        ranges = self.open_ranges(stock)
        back = [number for each in ranges for number in each.numbers.values() if number.state == "available"]
        if back:
            return min(back, key=lambda number: number.text)
        fresh = (number for each in ranges for number in each.numbers.values() if number.state == UNTOUCHED)
        return next(fresh, None)

    def wait(self, request: Request) -> None:
        """Put a request at the end of its queue."""
        self._turns += 1
        request.state, request.turn, request.since = "waiting", self._turns, self.now
        request.repeated.clear()

    def leave_queue(self, request: Request, state: str, because: str | None = None) -> None:
        """Take a request out of its queue, or out of its number."""
        request.state, request.because, request.turn, request.since = state, because, None, None
        request.repeated.clear()

    def assign(self, number: Number, request: Request) -> None:
        """Give a request its number, and tell it."""
        automatic = not number.range.manual
        if automatic:
            hour = self.now.replace(minute=0, second=0, microsecond=0)
            self.usage[number.range.stock.taxpayer_id, number.range.stock.channel_mode, hour] += 1
        self.move(number, "assigned")
        number.holder, number.issue_date, number.assigned_at = request.id, request.issue_date, self.now
        request.number = number
        request.answered |= {request.message, *request.repeated}
        self.leave_queue(request, "assigned")
        self.tell_assigned(request)

    def tell_assigned(self, request: Request) -> None:
        """Tell of the number that a request holds: for the first time, or once more."""
        number = request.number
        assert number is not None
        times = number.states.count("assigned")
        self.tell(
            "number-assigned",
            (request.taxpayer_id, number.text, times),
            issue_request_id=request.id,
            organization=request.organization,
            taxpayer_id=request.taxpayer_id,
            invoice_number=number.text,
            issue_date=request.issue_date,
            kind=request.kind,
            claim_mode="manual" if number.range.manual else "automatic",
            assigned_at=stamp(number.assigned_at),
        )

    def serve(self, stock: Stock) -> None:
        """Let a stock serve who waits for it, in order, as far as it goes."""
        if stock.taxpayer_id in self.paused:
            return
        for request in self.queue(stock):
            number = self.take(stock)
            if number is None:
                break
            self.assign(number, request)
        self.judge_level(stock)

    def judge_level(self, stock: Stock) -> None:
        """Tell that a stock ran out, or came down to low, if it did so now."""
        shelf, left = self.shelf(stock), self.remaining(stock)
        if left == 0 and shelf.level != "exhausted":
            shelf.level, shelf.episode = "exhausted", shelf.episode + 1
            self.tell(
                "range-exhausted",
                (stock, shelf.episode),
                **stock._asdict(),
                episode=shelf.episode,
                last_number=self._last_number(stock),
                waiting=len(self.queue(stock)),
            )
        elif shelf.level == "ok" and 0 < left <= shelf.low_at:
            shelf.level = "low"
            self.tell(
                "range-low",
                (stock, shelf.episode, self.now),
                **stock._asdict(),
                episode=shelf.episode,
                remaining=left,
                threshold=shelf.low_at,
            )

    def close_ranges(self) -> None:
        """Call ranges used up of which nobody can get a number any more."""
        for each in self.ranges:
            if each.status == "active" and not any(number.is_free for number in each.numbers.values()):
                each.status = "used-up"

    def end_range(self, ended: Range, status: str, reason: str) -> None:
        """Put a range out of use, with its numbers that nobody holds."""
        free = [number for number in ended.numbers.values() if number.is_free]
        unused = len(free) if ended.status != "foreign" or ended.listed_unused is None else ended.listed_unused
        ended.status = status
        for number in free:
            if number.state != UNTOUCHED:
                self.move(number, "expired")
        self.tell(
            "range-expired",
            (ended.stock.taxpayer_id, ended.first, ended.born),
            taxpayer_id=ended.stock.taxpayer_id,
            year=ended.stock.year,
            first_number=ended.first,
            last_number=ended.last,
            unused=unused,
            reason=reason,
        )

    # Claims by themselves.

    def claim_if_needed(self, stock: Stock, *, opening: bool = False) -> None:
        """Let a stock claim if it is low or empty, may claim, and has no claim under way."""
        policy = CHANNELS.get((stock.taxpayer_id, stock.channel_mode))
        shelf = self.shelf(stock)
        if policy is None or any(each.is_open_for(stock) for each in self.claims):
            return
        lacking = self._lacks(stock)
        if shelf.level == "low" and (policy.threshold == 0 or (lacking is not None and lacking <= 0)):
            shelf.level, shelf.low_at = "ok", 0
            return
        may = policy.automatic and stock.taxpayer_id not in self.paused and stock.year in self.claimable_years()
        later = shelf.not_before is not None and shelf.not_before > self.now
        hungry = shelf.level in {"low", "exhausted"} or (opening and shelf.level == "new")
        if may and hungry and not later:
            quantity = min(policy.quantity, self.limit(stock) or policy.quantity)
            self.claims.append(Claim(stock, False, quantity, None, self.now, due=(self.now, self.now)))

    def limit(self, stock: Stock) -> int | None:
        """How many numbers may be claimed at most; what was learnt before the stock's year ends as that begins."""
        shelf = self.shelf(stock)
        return shelf.at_most if self.year < stock.year or shelf.limited_in >= stock.year else None

    def claimable_years(self) -> tuple[int, ...]:
        """For which years claims are made by themselves now: the next one's from the set day on."""
        raise NotImplementedError

    def _lacks(self, stock: Stock) -> int | None:
        """How many numbers a stock lacks for the rest of its year, where that is known and the end is near."""
        left = max(new_year(stock.year + 1) - self.now, timedelta())
        since = self.now - 7 * _DAY
        used = {
            hour: count
            for (taxpayer_id, mode, hour), count in self.usage.items()
            if (taxpayer_id, mode) == stock[:2] and hour > since
        }
        if not used or left > 31 * _DAY:
            return None
        rate = sum(used.values()) / (max(self.now - min(used), _DAY) / _DAY)
        needed = ceil(min(rate * ceil(left / _DAY), max(used.values()) * (left / _HOUR)))
        return ceil(needed * 1.25) + len(self.queue(stock)) - self.remaining(stock)

    def _last_number(self, stock: Stock) -> str | None:
        begun = [
            each
            for each in self.held()
            if each.stock == stock and not each.manual and each.count(UNTOUCHED) < each.quantity
        ]
        return max(begun, key=lambda each: (each.born, each.last)).last if begun else None

    @property
    def year(self) -> int:
        """China's present year."""
        return china_year(self.now)
