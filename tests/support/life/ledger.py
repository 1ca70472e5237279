"""What the model remembers: numbers, ranges, requests, claims, as plain records with no rule in them."""

from dataclasses import dataclass, field
from datetime import datetime

from tests.support.life.cast import Stock

#: A number of an automatic range that nobody ever had: the database has no row of it.
UNTOUCHED = "untouched"


@dataclass(eq=False)
class Number:
    """One number with every state that it had."""

    text: str
    range: "Range"
    states: list[str] = field(default_factory=list)
    #: Who has it: the request that holds it, or the one that it is bound to.
    holder: str | None = None
    bound_to: str | None = None
    issue_date: str | None = None
    assigned_at: datetime | None = None

    @property
    def state(self) -> str:
        """The present one."""
        return self.states[-1] if self.states else UNTOUCHED

    @property
    def is_free(self) -> bool:
        """Whether nobody holds it."""
        return self.state in {UNTOUCHED, "available", "bound"}


@dataclass(eq=False)
class Range:
    """Numbers that came together."""

    stock: Stock
    first: str
    last: str
    manual: bool
    status: str
    born: datetime
    claim: "Claim | None" = None
    listed_unused: int | None = None
    numbers: dict[str, Number] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Lay its numbers out."""
        for value in range(int(self.first), int(self.last) + 1):
            text = f"{value:020}"
            self.numbers[text] = Number(text, self)

    @property
    def quantity(self) -> int:
        """How many numbers it has."""
        return len(self.numbers)

    def count(self, *states: str) -> int:
        """Count its numbers in these states."""
        return sum(number.state in states for number in self.numbers.values())


@dataclass(eq=False)
class Request:
    """An issue request with its content, and what became of it."""

    taxpayer_id: str
    id: str
    organization: str
    mode: str
    issue_date: str
    kind: str
    named: str | None
    state: str = "new"
    because: str | None = None
    number: Number | None = None
    turn: int | None = None
    since: datetime | None = None
    #: The message that is to be answered, and all that were answered with a number.
    message: str = ""
    answered: set[str] = field(default_factory=set)
    #: Those that came again while it waited: answered when it is.
    repeated: set[str] = field(default_factory=set)

    @property
    def stock(self) -> Stock:
        """The stock that it is for."""
        return Stock(self.taxpayer_id, self.mode, int(self.issue_date[:4]))

    @property
    def content(self) -> tuple[str | None, ...]:
        """What a repetition must have in common with it."""
        return (self.organization, self.issue_date, self.kind, self.named)


@dataclass(eq=False)
class Claim:
    """One claim; its id and serial are known once the database has been looked at."""

    stock: Stock
    manual: bool
    quantity: int
    organization: str | None
    born: datetime
    id: str = ""
    serial: str = ""
    status: str = "open"
    reason: str | None = None
    unknown_outcomes: int = 0
    #: It is asked again not before the first and, if anybody looks, by the second of these.
    due: tuple[datetime, datetime] = (datetime.min, datetime.min)  # noqa: DTZ901 -- set when it is made
    settled_at: datetime | None = None
    range: Range | None = None

    @property
    def is_undecided(self) -> bool:
        """Whether its outcome is not known."""
        return self.status in {"open", "unresolved"}

    def is_open_for(self, stock: Stock) -> bool:
        """Whether it stands in the way of another automatic claim for the stock."""
        return self.status == "open" and not self.manual and self.stock == stock


@dataclass
class Shelf:
    """A stock's own state."""

    level: str = "new"
    episode: int = 0
    low_at: int = 0
    not_before: datetime | None = None
    at_most: int | None = None
    #: In which year this was learnt.
    limited_in: int = 0
    failures: int = 0
