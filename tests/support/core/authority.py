"""An authority and a gateway that say what a test tells them to."""

import threading
from collections import deque
from collections.abc import Callable

from worker.clock import Clock, china_date
from worker.leqi.port import Answer, ClaimCall, Granted, ListedRange, ListingError, Refused, Throttled, Unknown

#: What an authority may be told to say: an answer, or how to make one of the call.
Script = Answer | Callable[[ClaimCall], Answer]

REFUSED = Refused("40321", "the unit is not qualified")
UNKNOWN = Unknown("no answer within 20 s")
THROTTLED = Throttled(None, "too many calls")


def number(sequence: int, *, year: int = 2026, digits: str = "70", region: str = "44") -> str:
    """Write the invoice number of this sequence."""
    return f"{year % 100:02}{region}{digits}{sequence:014}"


def granted(first: int, quantity: int, *, year: int = 2026, digits: str = "70") -> Granted:
    """Grant `quantity` numbers from sequence `first`."""
    last = first + quantity - 1
    return Granted(number(first, year=year, digits=digits), number(last, year=year, digits=digits), quantity)


def listed(
    first: int,
    quantity: int,
    *,
    unused: int | None = None,
    serial: str | None = None,
    taxpayer_id: str = "91350100M000100Y43",
    year: int = 2026,
) -> ListedRange:
    """List `quantity` numbers from sequence `first`, all unused if not said otherwise."""
    grant = granted(first, quantity, year=year)
    return ListedRange(
        grant.first_number,
        grant.last_number,
        quantity,
        quantity if unused is None else unused,
        None,
        taxpayer_id,
        serial,
    )


class ScriptedAuthority:
    """Answers with `script` in its order; after its end it grants what is asked, the same again for the same serial."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._next = 500_000
        self._grants: dict[str, Granted] = {}
        self.script: deque[Script] = deque()
        #: Every call, in order.
        self.calls: list[ClaimCall] = []

    def will(self, *answers: Script) -> None:
        """Say these next."""
        self.script.extend(answers)

    def claim(self, call: ClaimCall) -> Answer:
        """Say what is next."""
        with self._lock:
            self.calls.append(call)
            said = self.script.popleft() if self.script else self.grant
        return said(call) if callable(said) else said

    def grant(self, call: ClaimCall) -> Granted:
        """Grant what the call asks for, of the present year and its mode; a replay brings the same."""
        with self._lock:
            if call.business_serial not in self._grants:
                self._grants[call.business_serial] = granted(
                    self._next,
                    call.quantity,
                    year=china_date(self._clock.now()).year,
                    digits=call.channel_mode.digits,
                )
                self._next += call.quantity
            return self._grants[call.business_serial]

    def lose(self, call: ClaimCall) -> Unknown:
        """Grant, and lose the answer on its way."""
        self.grant(call)
        return UNKNOWN

    def close(self) -> None:
        """Nothing to let go of."""


class ScriptedListing:
    """A gateway that lists what it was told to; by taxpayer."""

    def __init__(self) -> None:
        self.lists: dict[str, list[ListedRange]] = {}
        self.failure: str | None = None
        self.asked: list[str] = []

    def put(self, *ranges: ListedRange) -> None:
        """List these ranges too."""
        for one in ranges:
            self.lists.setdefault(one.taxpayer_id, []).append(one)

    def ranges(self, taxpayer_id: str) -> list[ListedRange]:
        """See `RangeListing.ranges`."""
        self.asked.append(taxpayer_id)
        if self.failure is not None:
            raise ListingError(self.failure)
        return self.lists.get(taxpayer_id, [])
