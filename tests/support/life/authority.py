"""LeQi and a gateway as the machine wants them: in whatever mood, and with a memory of every grant."""

from collections.abc import Callable

from tests.support.life.cast import DIGITS, china_year
from worker.clock import Clock
from worker.leqi.port import (
    Answer,
    ClaimCall,
    Granted,
    ListedRange,
    ListingError,
    Refused,
    Throttled,
    Unknown,
)

UNKNOWN = Unknown("no answer within 20 s")

#: What LeQi may do with a call. `lose` grants and loses the answer; the last ones grant what must not be used.
MOODS = (
    "grant",
    "refuse",
    "unknown",
    "lose",
    "throttle",
    "old-year",
    "next-year",
    "short",
    "overlap",
    "wrong-year",
    "wrong-channel",
    "garbled",
)


class MoodyAuthority:
    """Implements `Authority`: the same serial brings the same range again, whatever the mood was."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """Forget everything: a new run begins."""
        self.mood = "grant"
        self.grants: dict[str, tuple[ClaimCall, Granted]] = {}
        self.log: list[tuple[ClaimCall, Answer]] = []
        self._next = 1

    def claim(self, call: ClaimCall) -> Answer:
        """Answer by the mood, and keep what was said."""
        answer = self._answer(call)
        self.log.append((call, answer))
        return answer

    def close(self) -> None:
        """Nothing to let go of."""

    def fresh(self, quantity: int, year: int, digits: str) -> Granted:
        """Grant numbers that nobody has."""
        first, self._next = self._next, self._next + quantity + 3
        return self._range(first, quantity, year, digits)

    def _answer(self, call: ClaimCall) -> Answer:
        match self.mood:
            case "refuse":
                return Refused("40321", "the unit is not qualified")
            case "unknown":
                return UNKNOWN
            case "throttle":
                return Throttled(None, "too many calls")
            case "lose":
                self._grant(call)
                return UNKNOWN
            case _:
                return self._grant(call)

    def _grant(self, call: ClaimCall) -> Granted:
        if call.business_serial not in self.grants:
            self.grants[call.business_serial] = (call, self._new_grant(call))
        return self.grants[call.business_serial][1]

    def _new_grant(self, call: ClaimCall) -> Granted:
        year, digits, quantity = china_year(self._clock.now()), DIGITS[call.channel_mode.value], call.quantity
        year += {"old-year": -1, "next-year": 1, "wrong-year": 2}.get(self.mood, 0)
        if self.mood == "short":
            quantity = quantity - 1 or 2
        if self.mood == "wrong-channel":
            digits = "72" if digits != "72" else "70"
        last = self._last_of(f"{year % 100:02}44{digits}")
        if self.mood == "overlap" and last is not None:
            return self._range(int(last), quantity, year, digits)
        granted = self.fresh(quantity, year, digits)
        if self.mood == "garbled":
            return Granted(granted.first_number[:-1], granted.last_number, quantity)
        return granted

    def _last_of(self, prefix: str) -> str | None:
        lasts = [granted.last_number for _, granted in self.grants.values() if granted.first_number[:6] == prefix]
        return max(lasts)[6:] if lasts else None

    def _range(self, first: int, quantity: int, year: int, digits: str) -> Granted:
        prefix = f"{year % 100:02}44{digits}"
        last = first + quantity - 1
        self._next = max(self._next, last + 4)
        return Granted(f"{prefix}{first:014}", f"{prefix}{last:014}", quantity)


class MoodyListing:
    """Implements `RangeListing`: gives what the machine made of the grants, or fails."""

    def __init__(self) -> None:
        self.ranges_of: Callable[[str], list[ListedRange] | None] = lambda _: []

    def ranges(self, taxpayer_id: str) -> list[ListedRange]:
        """See `RangeListing.ranges`."""
        listed = self.ranges_of(taxpayer_id)
        if listed is None:
            message = "the gateway is away"
            raise ListingError(message)
        return listed
