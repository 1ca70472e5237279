"""Events that must come, and whether those that came are they."""

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

from tests.support.core.world import Told

#: What is compared of each event; texts for people, and ids that only the database gives, are not.
_OUTCOME = ("outcome_id", "issue_request_id", "organization", "taxpayer_id", "invoice_number", "at")
_BINDING = ("binding_id", "issue_request_id", "organization", "taxpayer_id", "invoice_number", "requested_by", "at")
_STOCK = ("taxpayer_id", "channel_mode", "year", "episode")
_ENDED = ("taxpayer_id", "year", "first_number", "last_number", "unused", "reason")
FIELDS: Mapping[str, tuple[str, ...]] = {
    "number-assigned": (
        "issue_request_id",
        "organization",
        "taxpayer_id",
        "invoice_number",
        "issue_date",
        "kind",
        "claim_mode",
        "assigned_at",
    ),
    "number-refused": ("issue_request_id", "organization", "reason"),
    "range-exhausted": (*_STOCK, "last_number", "waiting"),
    "range-low": (*_STOCK, "remaining", "threshold"),
    "range-claimed": (
        "claim_id",
        "claim_mode",
        "organization",
        "taxpayer_id",
        "first_number",
        "last_number",
        "quantity",
        "year",
    ),
    "claim-failed": ("claim_id", "taxpayer_id", "quantity", "reason", "next_attempt_at"),
    "claim-unresolved": ("claim_id", "taxpayer_id", "quantity", "reason"),
    "range-refreshed": (
        "refresh_id",
        "taxpayer_id",
        "ranges",
        "claimed",
        "remaining",
        "resolved_claims",
        "unresolved_claims",
        "expired",
        "foreign",
        "differences",
    ),
    "range-expired": _ENDED,
    "range-quarantined": _ENDED,
    "number-bound": _BINDING,
    "number-unbound": _BINDING,
    "binding-refused": (*_BINDING, "reason"),
    "number-used": _OUTCOME,
    "number-released": _OUTCOME,
    "number-voided": _OUTCOME,
    "number-held": _OUTCOME,
    "outcome-refused": (*_OUTCOME, "reason"),
    "outcome-overdue": _OUTCOME,
}


class Expected(NamedTuple):
    """One event that must come. The same `fact` is told under the same id for ever; None: under a new id each time."""

    topic: str
    data: Mapping[str, object]
    fact: Hashable = None


class Facts:
    """Every fact that was told so far, with the id that it was told under."""

    def __init__(self) -> None:
        self._ids: dict[Hashable, str] = {}
        self._facts: dict[str, Hashable] = {}

    def compare(self, expected: Sequence[Expected], told: Sequence[Told]) -> None:
        """Hold what was told against what had to be, in whatever order; raises `AssertionError`."""
        wanted = [_key(each.topic, each.data) for each in expected]
        came = [_key(each.topic.value, each.data) for each in told]
        missing, surplus = Counter(wanted) - Counter(came), Counter(came) - Counter(wanted)
        assert not missing and not surplus, (  # noqa: PT018 -- both are needed to see what happened
            f"expected and not told: {_lines(missing)}\ntold and not expected: {_lines(surplus)}"
        )
        facts: dict[str, list[Hashable]] = {}
        for key, one in zip(wanted, expected, strict=True):
            facts.setdefault(key, []).append(one.fact)
        for key, event in zip(came, told, strict=True):
            self._identify(event, facts[key].pop(0))

    def _identify(self, event: Told, fact: Hashable) -> None:
        if fact is None:
            fact = ("told once", event.id)
            assert event.id not in self._facts, f"{event.topic} has the id of {self._facts[event.id]}"
        known = self._ids.setdefault(fact, event.id)
        assert known == event.id, f"{fact} was told as {known}, and again as {event.id}"
        owner = self._facts.setdefault(event.id, fact)
        assert owner == fact, f"{fact} is told under the id of {owner}"


def _key(topic: str, data: Mapping[str, object]) -> str:
    fields = {name: data.get(name) for name in FIELDS[topic]}
    if "differences" in fields:
        fields["differences"] = sorted(json.dumps(each, sort_keys=True) for each in fields["differences"] or ())  # type: ignore[attr-defined]
    return f"{topic} {json.dumps(fields, sort_keys=True)}"


def _lines(keys: Iterable[str]) -> str:
    return "".join(f"\n  {key}" for key in keys) or "nothing"
