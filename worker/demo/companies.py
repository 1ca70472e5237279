"""The companies of the demo: who asks for numbers, through which channel, and how much of the traffic each has."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, count, islice

from schemas.organizations import LARGEST_CLAIM, OrganizationEntry
from schemas.taxpayer_id import usci_warning
from schemas.vocabulary import ChannelMode

#: Letters and digits that a unified social credit code has (the domain, "Tax id").
_CODE_CHARACTERS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
#: Characters between the administrative division and the check character.
_OWN_CHARACTERS = 9


@dataclass(frozen=True, slots=True)
class Company:
    """An organisation as it stands in the organisations file, and its weight in the traffic."""

    entry: OrganizationEntry
    weight: float

    @property
    def code(self) -> str:
        """The code by which requests name it."""
        return self.entry.code

    @property
    def stock(self) -> tuple[str, ChannelMode]:
        """What companies of one tax id and channel mode share."""
        return self.entry.taxpayer_id, self.entry.channel_mode

    @property
    def low_at(self) -> int:
        """How many numbers are left when its stock counts as low, after an automatic claim; 0: when it is empty."""
        share = Fraction(str(self.entry.low_threshold))
        return int(share * self.entry.claim_quantity)


@dataclass(frozen=True, slots=True)
class _Role:
    """A company without the values that are drawn: `division` is that of its tax id, "" shares the one before."""

    code: str
    name: str
    division: str
    mode: ChannelMode
    weight: float
    automatic_claims: bool = True


#: The first ones are there whatever the number of companies: two that share a tax id, then one for which nothing is
#: claimed until an operator allows it, then the other channel modes.
_NAMED = (
    _Role("SH-TRADE", "上海星桥贸易有限公司", "310115", ChannelMode.SELF_USE, 3),
    _Role("SH-RETAIL", "上海星桥贸易有限公司零售分公司", "", ChannelMode.SELF_USE, 2),
    _Role("GD-WORKS", "广州南麓制造有限公司", "440106", ChannelMode.SELF_USE, 1.5, automatic_claims=False),
    _Role("BJ-AGENT", "北京代开服务有限公司", "110108", ChannelMode.ON_BEHALF, 1.5),
    _Role("ZJ-JOINT", "杭州联合商贸有限公司", "330106", ChannelMode.JOINT, 1),
    _Role("SC-FOODS", "成都山味食品有限公司", "510107", ChannelMode.SELF_USE, 1),
)
_DIVISIONS = ("320102", "350203", "370102", "420106", "430102", "500103", "610113", "330203", "440304", "650102")
_MODES = (ChannelMode.SELF_USE, ChannelMode.SELF_USE, ChannelMode.ON_BEHALF, ChannelMode.JOINT)
#: Of the further companies, every so many-th shares the tax id of the one before.
_SHARING = 5

#: Of what a stock will need, so much is claimed at a time: most run out several times, one has plenty.
_CLAIM_SHARES = (0.3, 0.6, 0.45, 1.25, 0.25)


def found_companies(number: int, invoices: int, dice: random.Random) -> list[Company]:
    """Make that many companies, whose claims fit traffic of `invoices` requests."""
    roles = list(islice(chain(_NAMED, _further_roles()), number))
    stocks: list[tuple[str, ChannelMode]] = []
    for role in roles:
        taxpayer_id = _draw_taxpayer_id(role.division, dice) if role.division else stocks[-1][0]
        stocks.append((taxpayer_id, role.mode))
    quantities = _claim_quantities(roles, stocks, invoices)
    return [
        Company(
            OrganizationEntry(
                code=role.code,
                name=role.name,
                taxpayer_id=stock[0],
                channel_mode=role.mode,
                using_unit_id=f"UU{sorted(set(stocks)).index(stock) + 1:014}",
                automatic_claims=role.automatic_claims,
                claim_quantity=quantities[stock],
            ),
            role.weight,
        )
        for role, stock in zip(roles, stocks, strict=True)
    ]


def with_automatic_claims(company: Company) -> OrganizationEntry:
    """Give the entry that an operator imports to let claims be made for the company by themselves."""
    return company.entry.model_copy(update={"automatic_claims": True})


def calm_company(companies: Sequence[Company]) -> Company | None:
    """Find the company that issues at a calm pace, so that claims are ahead of it: the last with a stock of its own."""
    sharing = Counter(company.stock for company in companies)
    own = [company for company in companies[1:] if company.entry.automatic_claims and sharing[company.stock] == 1]
    return own[-1] if own else None


def _further_roles() -> Iterator[_Role]:
    for number in count(len(_NAMED) + 1):
        sharing = number % _SHARING == 0
        # Who shares a tax id shares the channel mode too, that of the number before.
        mode = _MODES[(number - 1 if sharing else number) % len(_MODES)]
        division = "" if sharing else _DIVISIONS[number % len(_DIVISIONS)]
        yield _Role(f"ORG-{number:04}", f"示例企业{number}有限公司", division, mode, 1)


def _draw_taxpayer_id(division: str, dice: random.Random) -> str:
    """Make an 18-character tax id whose check character is right."""
    body = f"91{division}" + "".join(dice.choices(_CODE_CHARACTERS, k=_OWN_CHARACTERS))
    return next(body + check for check in _CODE_CHARACTERS if usci_warning(body + check) is None)


def _claim_quantities(
    roles: Sequence[_Role],
    stocks: Sequence[tuple[str, ChannelMode]],
    invoices: int,
) -> dict[tuple[str, ChannelMode], int]:
    whole = sum(role.weight for role in roles)
    needs: dict[tuple[str, ChannelMode], float] = {}
    for role, stock in zip(roles, stocks, strict=True):
        needs[stock] = needs.get(stock, 0) + invoices * role.weight / whole
    return {
        stock: min(LARGEST_CLAIM, max(1, round(need * _CLAIM_SHARES[place % len(_CLAIM_SHARES)])))
        for place, (stock, need) in enumerate(needs.items())
    }
