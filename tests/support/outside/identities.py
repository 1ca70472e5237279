"""Tax ids, organisations and days, made by the public rules (GB 32100-2015 for the check character)."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

CHINA = ZoneInfo("Asia/Shanghai")

#: Digits 5-6 of every number of a channel mode, and LeQi's capability for it.
CHANNEL_DIGITS: Mapping[str, str] = {"self-use": "70", "on-behalf": "71", "joint": "72"}
CAPABILITIES: Mapping[str, str] = {"self-use": "202007", "on-behalf": "202077", "joint": "202076"}

_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_counter = itertools.count(1)


def new_taxpayer_id() -> str:
    """Give a tax id that this process has not given before, with the right check character."""
    body = f"9144030{next(_counter):010d}"
    total = sum(_ALPHABET.index(character) * (3**place % 31) for place, character in enumerate(body))
    return body + _ALPHABET[(31 - total % 31) % 31]


@dataclass(frozen=True, slots=True)
class Organization:
    """One entry of an organisations file."""

    code: str
    taxpayer_id: str
    channel_mode: str = "self-use"
    using_unit_id: str = ""
    policy: Mapping[str, object] = field(default_factory=dict)

    def entry(self) -> dict[str, object]:
        """Give it as the file has it."""
        return {
            "code": self.code,
            "name": f"Company {self.code}",
            "taxpayer_id": self.taxpayer_id,
            "channel_mode": self.channel_mode,
            "using_unit_id": self.using_unit_id or f"UU{self.taxpayer_id[-12:]}",
            **self.policy,
        }


def organization(
    *, taxpayer_id: str | None = None, channel_mode: str = "self-use", using_unit_id: str = "", **policy: object
) -> Organization:
    """Give an organisation with a code of its own, and a taxpayer of its own unless one is named."""
    return Organization(
        code=f"ORG-{next(_counter):05d}",
        taxpayer_id=taxpayer_id or new_taxpayer_id(),
        channel_mode=channel_mode,
        using_unit_id=using_unit_id,
        policy=policy,
    )


def china_now() -> datetime:
    """Give this instant in China's time."""
    return datetime.now(CHINA)  # noqa: TID251 -- Fuma's own clock is what is checked


def china_today() -> date:
    """Give the day that invoices issued now bear."""
    return china_now().date()


def ahead(**amount: float) -> str:
    """Give the instant that far ahead of now, as `FUMA_CLOCK` takes it."""
    return (china_now() + timedelta(**amount)).isoformat(timespec="seconds")
