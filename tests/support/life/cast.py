"""Who takes part: few taxpayers, small claims, short queues, so that everything meets everything soon."""

from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

CHINA = ZoneInfo("Asia/Shanghai")
ENVIRONMENT = "sandbox"
DIRECT_UNIT = "DU-LIFE"

FIRST = "91350100M000100Y43"
SECOND = "91110000101623741K"

#: Digits 5-6 of a number.
DIGITS = {"self-use": "70", "on-behalf": "71", "joint": "72"}

#: The old year lives on for so long after New Year; a request waits so long; an outcome may take so long.
GRACE = timedelta(hours=48)
WAITING_LIMIT = timedelta(hours=24)
OUTCOME_LIMIT = timedelta(hours=40)
ABANDON_AFTER = timedelta(days=7)

#: So many at most are claimed where the last claim brought another year's numbers.
CAUTIOUS = 2

#: From this month and day on, claims for the next year are made.
NEXT_YEAR_FROM = (12, 31)


class Stock(NamedTuple):
    """One stock: taxpayer, channel mode, year of issue dates."""

    taxpayer_id: str
    channel_mode: str
    year: int


class Policy(NamedTuple):
    """How a channel claims: by itself or not, how many at a time, low at which share of that."""

    automatic: bool
    quantity: int
    threshold: float


#: Organisations with their taxpayer and mode: A and B share a stock, C is the same taxpayer in another mode.
ORGANIZATIONS = {
    "A": (FIRST, "self-use"),
    "B": (FIRST, "self-use"),
    "C": (FIRST, "joint"),
    "D": (SECOND, "self-use"),
    "E": (SECOND, "on-behalf"),
}

CHANNELS = {
    (FIRST, "self-use"): Policy(automatic=True, quantity=5, threshold=0.4),
    (FIRST, "joint"): Policy(automatic=True, quantity=3, threshold=0.0),
    (SECOND, "self-use"): Policy(automatic=True, quantity=4, threshold=0.5),
    (SECOND, "on-behalf"): Policy(automatic=False, quantity=2, threshold=0.2),
}


def china_day(instant: datetime) -> str:
    """Write the day that China's calendars show at an instant."""
    return instant.astimezone(CHINA).date().isoformat()


def china_year(instant: datetime) -> int:
    """Tell the year that China's calendars show at an instant."""
    return instant.astimezone(CHINA).year


def new_year(year: int) -> datetime:
    """Tell when a year begins in China."""
    return datetime(year, 1, 1, tzinfo=CHINA)


def year_of(number: str) -> int:
    """Tell the year of a number's first two digits."""
    return 2000 + int(number[:2])
