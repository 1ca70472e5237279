"""The upstream's book: which requests have no answer yet, and what follows from an answer."""

import random
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from tests.support.outside.envelopes import Event, event

#: Which field of an event's data names the request that it answers.
ANSWERS: Mapping[str, str] = {
    "number-assigned": "issue_request_id",
    "number-refused": "issue_request_id",
    "range-claimed": "claim_id",
    "claim-failed": "claim_id",
    "number-bound": "binding_id",
    "number-unbound": "binding_id",
    "binding-refused": "binding_id",
    "number-used": "outcome_id",
    "number-released": "outcome_id",
    "number-voided": "outcome_id",
    "number-held": "outcome_id",
    "outcome-refused": "outcome_id",
    "range-refreshed": "refresh_id",
}

#: Which field names a request of a topic.
KEYS: Mapping[str, str] = {
    "invoice-issuing": "issue_request_id",
    "claim-requested": "claim_id",
    "number-binding-requested": "binding_id",
    "invoice-outcome": "outcome_id",
    "refresh-requested": "refresh_id",
}


def topic_of(told: Mapping[str, Any]) -> str:
    """Give the topic that a type `fuma.<topic>.v1` names."""
    return str(told["type"])[5:-3]


@dataclass
class Book:
    """What is open, and what is to be asked next because of what came."""

    dice: random.Random
    #: Requests sent and not answered, by their business key, which no two topics share.
    open: dict[str, Event] = field(default_factory=dict)
    #: The events to send next, by topic.
    todo: dict[str, deque[Event]] = field(default_factory=lambda: defaultdict(deque))
    #: The event by which each issue request was assigned last, and the element that asked.
    assigned: dict[str, str] = field(default_factory=dict)
    asked: dict[str, Event] = field(default_factory=dict)
    #: Requests whose number may be told of no more: the restored database has forgotten them.
    forgotten: set[str] = field(default_factory=set)
    #: Open requests that a hand may have thrown away: to be asked again.
    thrown: set[str] = field(default_factory=set)
    _since_dump: set[str] | None = None
    _made: int = 0

    def sent(self, topic: str, events: list[Event]) -> None:
        """Note what goes out; a repetition of something answered opens nothing."""
        for each in events:
            key = str(_data(each)[KEYS[topic]])
            before = self.asked.get(key)
            if topic == "invoice-issuing":
                if before is not None and before["id"] == each["id"]:
                    continue
                self.asked[key] = each
            self.open[key] = each
            self._made = max(self._made, int(key.rsplit("-", 1)[1]))

    def came(self, told: Event) -> None:
        """Note an event; what follows from it is put into `todo`."""
        topic, data = topic_of(told), _data(told)
        key = data.get(ANSWERS.get(topic, ""))
        if key is None:
            return
        if topic == "number-refused" and data["reason"] == "released":
            return
        if topic == "number-assigned":
            if self.assigned.get(key) == told["id"]:
                return
            self.assigned[key] = str(told["id"])
            if self._since_dump is not None:
                self._since_dump.add(key)
        # Asked anew under the same key, it is another message, which nobody threw away.
        self.thrown.discard(key)
        if self.open.pop(key, None) is not None and key not in self.forgotten:
            self._follow(topic, key, data)

    def deleted(self, topic: str) -> None:
        """A queue is gone, with what was in it."""
        self.thrown |= {key for key, each in self.open.items() if topic_of(each) == topic}

    def to_ask_again(self) -> dict[str, list[Event]]:
        """Give what was thrown away and is still open, by topic; only once."""
        found: dict[str, list[Event]] = defaultdict(list)
        for key in sorted(self.thrown & self.open.keys()):
            found[topic_of(self.open[key])].append(self.open[key])
        self.thrown.clear()
        return found

    def dumped(self) -> None:
        """From now on a restore may forget what comes."""
        self._since_dump = set()

    def restored(self) -> None:
        """What came since the dump is forgotten: nothing more is asked about it."""
        self.forgotten |= self._since_dump or set()
        self._since_dump = None
        self.todo.clear()
        self.thrown |= self.open.keys()
        for key in self.open:
            # Its number was released after the dump: the database refuses to tell it again, or gives another.
            self.assigned.pop(key, None)

    def new_key(self, letter: str) -> str:
        """Give a business key that was never given."""
        self._made += 1
        return f"{letter}-{self._made}"

    def issuing(self, organization: str, day: date, **more: object) -> Event:
        """Give a new issue request."""
        kind = "red" if self.dice.random() < 0.1 else "blue"
        told = {"organization": organization, "issue_date": day.isoformat(), "kind": kind}
        return event("invoice-issuing", {"issue_request_id": self.new_key("I"), **told, **more})

    def repetition(self) -> Event | None:
        """Give a message that was sent before, as it was; None where there is none."""
        if not self.asked:
            return None
        key = f"I-{self.dice.randint(1, self._made)}"
        return None if key in self.forgotten or key in self.open else self.asked.get(key)

    def _follow(self, topic: str, key: str, data: dict[str, Any]) -> None:
        follow = {
            "number-assigned": self._upload,
            "number-held": self._settle,
            "number-released": self._ask_anew,
            "range-claimed": self._use_by_hand,
            "number-bound": self._use_bound,
        }.get(topic)
        if follow is not None:
            follow(key, data)

    def _upload(self, _key: str, data: dict[str, Any]) -> None:
        chance = self.dice.random()
        outcomes = ((0.35, "uploaded", True), (0.43, "failed", True), (0.45, "failed", False), (0.49, "unknown", True))
        for limit, outcome, reuse in outcomes:
            if chance < limit:
                self._report(data, outcome, reuse=reuse)
                return

    def _settle(self, _key: str, data: dict[str, Any]) -> None:
        self._report(data, self.dice.choice(["uploaded", "failed"]), reuse=True)

    def _report(self, data: dict[str, Any], outcome: str, *, reuse: bool) -> None:
        told = {name: data[name] for name in ("organization", "issue_request_id", "invoice_number")}
        made = event("invoice-outcome", {"outcome_id": self.new_key("O"), **told, "outcome": outcome, "reuse": reuse})
        self.todo["invoice-outcome"].append(made)

    def _ask_anew(self, _key: str, data: dict[str, Any]) -> None:
        before = self.asked.get(data["issue_request_id"])
        # A named number is in its manual range again, and may be bound or named by another by now.
        if before is not None and "number" not in _data(before) and self.dice.random() < 0.5:
            again = event("invoice-issuing", _data(before))
            self.todo["invoice-issuing"].append(again)

    def _use_by_hand(self, _key: str, data: dict[str, Any]) -> None:
        if data["claim_mode"] != "manual":
            return
        day = _day_of_year(int(data["year"]))
        for number in range(int(data["first_number"]), int(data["last_number"]) + 1):
            chance = self.dice.random()
            if chance < 0.4:
                self._bind(data["organization"], f"{number:020}", self.new_key("I"), "bind")
            elif chance < 0.7:
                self.todo["invoice-issuing"].append(self.issuing(data["organization"], day, number=f"{number:020}"))

    def _use_bound(self, _key: str, data: dict[str, Any]) -> None:
        number, request = data["invoice_number"], data["issue_request_id"]
        if self.dice.random() < 0.25:
            self._bind(data["organization"], number, request, "unbind")
            return
        day = _day_of_year(2000 + int(number[:2]))
        made = self.issuing(data["organization"], day)
        _data(made)["issue_request_id"] = request
        self.todo["invoice-issuing"].append(made)

    def _bind(self, organization: str, number: str, request: str, action: str) -> None:
        told = {"organization": organization, "number": number, "issue_request_id": request, "action": action}
        made = event("number-binding-requested", {"binding_id": self.new_key("B"), **told, "requested_by": "li.na"})
        self.todo["number-binding-requested"].append(made)


def _day_of_year(year: int) -> date:
    """A day that all its numbers may be issued on: the last of the year."""
    return date(year + 1, 1, 1) - timedelta(days=1)


def _data(told: Event) -> dict[str, Any]:
    data = told["data"]
    assert isinstance(data, dict)
    return data
