"""A day's traffic, planned from a seed: valid requests in every form, repetitions, and messages nobody can read."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from tests.support.outside.envelopes import (
    BATCH,
    STRUCTURED,
    Event,
    Outgoing,
    as_json,
    batch,
    binary,
    event,
    structured,
)
from tests.support.outside.identities import Organization, china_today, organization
from tests.support.outside.world import issuing

_TAXPAYERS = 20
_LARGEST_BATCH = 120


@dataclass(frozen=True, slots=True)
class Asked:
    """What one valid request asked for, and what its answer must repeat."""

    organization: Organization
    key: str
    issue_date: date
    kind: str

    def event(self) -> Event:
        """Give it as a CloudEvent with a new id."""
        return issuing(self.organization, self.key, issue_date=self.issue_date.isoformat(), kind=self.kind)


@dataclass(slots=True)
class Traffic:
    """The messages in the order of sending, and what must come of them."""

    organizations: list[Organization] = field(default_factory=list)
    #: By (taxpayer, business key).
    asked: dict[tuple[str, str], Asked] = field(default_factory=dict)
    messages: list[Outgoing] = field(default_factory=list)
    #: Bodies of letters to come, with their reasons: of a message as it was sent, of a batch's element alone.
    letters: Counter[tuple[bytes, str]] = field(default_factory=Counter)


def plan(*, requests: int, repeated: float, malformed: float, seed: int) -> Traffic:
    """Plan that many requests, of which a share is sent twice, and a share more that nobody can read.

    Twenty taxpayers; one of them has three organisations, one is in another channel mode, one in two modes.
    """
    dice = random.Random(seed)
    traffic = Traffic(organizations=_organizations())
    events: list[tuple[Event, str | None]] = []
    for number in range(requests):
        asked = _asked(dice, traffic.organizations, number)
        traffic.asked[asked.organization.taxpayer_id, asked.key] = asked
        first = asked.event()
        events.append((first, None))
        if number < requests * repeated:
            # Half of the repetitions are the same message, half ask again under another CloudEvents id.
            events.append((first if number % 2 else asked.event(), None))
    bad = round(requests * malformed)
    events += [_unacceptable(dice, traffic.organizations, number) for number in range(bad // 2)]
    dice.shuffle(events)
    unreadable = [
        Outgoing("invoice-issuing", f"no JSON {number}".encode(), STRUCTURED) for number in range(bad - bad // 2)
    ]
    for message in unreadable:
        traffic.letters[message.body, "malformed"] += 1
    traffic.messages = [*_packed(dice, events, traffic.letters), *unreadable]
    dice.shuffle(traffic.messages)
    return traffic


def _organizations() -> list[Organization]:
    """22 of 20 taxpayers and one in a second mode, with policies from 100 numbers a claim to 5000."""
    quantities = (1000, 300, 5000, 100, 700)
    orgs = [organization(claim_quantity=quantities[n % len(quantities)]) for n in range(_TAXPAYERS - 1)]
    shared = orgs[0]
    orgs += [organization(taxpayer_id=shared.taxpayer_id, claim_quantity=quantities[0]) for _ in range(2)]
    orgs.append(organization(channel_mode="on-behalf", claim_quantity=400))
    orgs.append(organization(taxpayer_id=orgs[1].taxpayer_id, channel_mode="joint", claim_quantity=250))
    return orgs


def _asked(dice: random.Random, orgs: Sequence[Organization], number: int) -> Asked:
    new_year = china_today().replace(month=1, day=1)
    return Asked(
        organization=orgs[number % len(orgs)],
        # Numbering that restarts for each organisation would collide in a shared tax id: keys are the taxpayer's.
        key=f"INV-{number:06d}",
        issue_date=new_year + timedelta(days=dice.randrange(365)),
        kind="red" if dice.random() < 0.1 else "blue",
    )


def _unacceptable(dice: random.Random, orgs: Sequence[Organization], number: int) -> tuple[Event, str]:
    """Give an event in good form that no schema accepts, with the reason."""
    org, key = dice.choice(orgs), f"BAD-{number:06d}"
    choices: list[tuple[Event, str]] = [
        (issuing(org, key, amount=100), "malformed"),
        (issuing(org, key, issue_date="2026-02-30"), "malformed"),
        (issuing(org, key, environment="production"), "wrong-environment"),
        ({**issuing(org, key), "type": "fuma.invoice-printing.v1"}, "unknown-type"),
        (event("invoice-issuing", {"issue_request_id": key}), "malformed"),
    ]
    return choices[number % len(choices)]


def _packed(
    dice: random.Random, events: Sequence[tuple[Event, str | None]], letters: Counter[tuple[bytes, str]]
) -> Iterator[Outgoing]:
    """Give the events as messages: about a third of them alone, a third in binary form, a third in batches."""
    place = 0
    while place < len(events):
        form = dice.choices(("structured", "binary", "batch"), weights=(60, 60, 1))[0]
        size = dice.randint(2, _LARGEST_BATCH) if form == "batch" else 1
        taken = events[place : place + size]
        place += size
        if form == "batch":
            message = batch([sent for sent, _ in taken], topic="invoice-issuing")
        elif form == "binary":
            message = binary(taken[0][0], routing_key="invoice-issuing")
        else:
            message = structured(taken[0][0], routing_key="invoice-issuing")
        for sent, reason in taken:
            if reason:
                letters[as_json(sent) if message.content_type == BATCH else message.body, reason] += 1
        yield message
