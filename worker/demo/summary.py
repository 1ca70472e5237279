"""The end of the demo: tables of what happened and whether it holds, for people; the same as JSON for programs."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from schemas.topics import Topic
from worker.demo.checks import Check
from worker.demo.lives import lives_of_numbers
from worker.demo.reckoning import Outcome

#: Rows of ranges that are shown; the report counts all.
_MOST_RANGES = 40
_UNFOLDED = 10_000
#: Steps of a number that is assigned and used.
_ORDINARY_LIFE = 2

#: Columns of the table of ranges: title and field. In a narrow terminal those of a group stand below each other.
_RANGE_COLUMNS = (
    (("organization", "organization"), ("taxpayer", "taxpayer_id")),
    (("first number", "first_number"), ("last number", "last_number")),
    (("claimed", "claimed"), ("remaining", "remaining")),
    (("mode", "claim_mode"), ("status", "status")),
)


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that is told at the end."""

    outcome: Outcome
    #: The audit of the database, and the reckoning of what was sent against what came.
    invariants: Sequence[Check]
    checks: Sequence[Check]
    seed: int
    seconds: float
    #: Why the story broke off; None where it came to its end.
    failure: str | None

    @property
    def holds(self) -> bool:
        """Whether all was shown to hold."""
        return self.failure is None and all(each.holds for each in (*self.invariants, *self.checks))

    def show(self, console: Console) -> None:
        """Print all of it."""
        self._show_ranges(console)
        self._show_counts(console)
        self._show_one_life(console)
        _show_checks(console, "Audit of the database", self.invariants)
        _show_checks(console, "What came, against what was sent", self.checks)
        self._show_verdict(console)

    def write(self, file: Path) -> None:
        """Write the report: counts, and each check as `checked` and `broken`."""
        file.write_text(json.dumps(self._report(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def _report(self) -> dict[str, object]:
        outcome = self.outcome
        return {
            "requests": len(outcome.traffic.asked),
            "assigned": len(outcome.audience.assigned),
            "refused": len(outcome.audience.refused),
            "waiting": len(outcome.waiting),
            "dead_letters": outcome.letters.total(),
            "claims": len(outcome.claims),
            "ranges": len(outcome.ranges),
            "invariants": _as_report(self.invariants),
            "checks": _as_report(self.checks),
            "refused_by_reason": self._refusals(),
            "dead_letters_by_reason": dict(outcome.letters),
            "claims_by_mode": self._claims_by_mode(),
            "claims_replayed": self._replayed(),
            "messages": outcome.course.messages,
            "sent_again": self._sent_again(),
            "waited_without_claims": outcome.course.waited,
            "numbers": self._numbers(),
            "bindings": self._replies(order.binding_id for order in outcome.course.orders),
            "outcomes": self._replies(report.outcome_id for report in outcome.course.reports),
            "asked_anew": len(outcome.course.anew),
            "used_again": self._used_again(),
            "claimed_ahead": 0 if outcome.course.ahead is None else outcome.course.ahead.low,
            "events": {topic.value: times for topic, times in sorted(outcome.audience.events.items())},
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "failure": self.failure,
        }

    def _show_ranges(self, console: Console) -> None:
        ranges = sorted(
            self.outcome.ranges,
            key=lambda row: (str(row["organization"]), str(row["claim_mode"]), str(row["first_number"])),
        )
        shown = ranges[:_MOST_RANGES]
        wide = _table_of_ranges(shown, [(column,) for group in _RANGE_COLUMNS for column in group])
        unfolded = Measurement.get(console, console.options.update(max_width=_UNFOLDED), wide).maximum
        console.print()
        console.print(Text("Ranges", style="bold"))
        console.print(wide if unfolded <= console.width else _table_of_ranges(shown, _RANGE_COLUMNS))
        if len(ranges) > len(shown):
            console.print(f"and {len(ranges) - len(shown)} more")

    def _show_counts(self, console: Console) -> None:
        outcome = self.outcome
        audience = outcome.audience
        replayed = self._replayed()
        ahead = outcome.course.ahead
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column()
        table.add_column(justify="right")
        table.add_column(overflow="fold")
        rows: list[tuple[str, int, str]] = [
            ("issue requests", len(outcome.traffic.asked), f"in {outcome.course.messages} messages with all others"),
            ("  got a number", len(audience.assigned), self._waited()),
            ("  were refused", len(audience.refused), _words(self._refusals())),
            ("  wait", len(outcome.waiting), "" if outcome.waiting else "every request has its answer"),
            ("sent again", self._sent_again(), "each got the same number by the same event" if self.holds else ""),
            ("dead letters", outcome.letters.total(), _words(outcome.letters)),
            ("claims", len(outcome.claims), _words(self._claims_by_mode())),
            ("  ahead", 0 if ahead is None else ahead.low, self._told_ahead()),
            ("  replayed", replayed, "LeQi's answer was lost; asked again, it gave the same range" if replayed else ""),
            (
                "bindings",
                len(outcome.course.orders),
                _words(self._replies(o.binding_id for o in outcome.course.orders)),
            ),
            (
                "outcomes",
                len(outcome.course.reports),
                _words(self._replies(r.outcome_id for r in outcome.course.reports)),
            ),
            ("asked anew", len(outcome.course.anew), "after a failed upload; an old message gets no new number"),
            ("  used again", self._used_again(), "released numbers, taken before their range goes on"),
            ("numbers", len(outcome.numbers), _words(self._numbers())),
            ("events", sum(audience.events.values()), _words({t.value: n for t, n in audience.events.items()})),
        ]
        for name, number, words in rows:
            table.add_row(name, str(number), Text(words))
        console.print()
        console.print(Text("Summary", style="bold"))
        console.print(table)

    def _show_one_life(self, console: Console) -> None:
        """Tell where one number went: one that came back and stands on another invoice."""
        lives = lives_of_numbers(self.outcome.audience.moves)
        came_back = {number: moves for number, moves in lives.items() if len(moves) > _ORDINARY_LIFE}
        if not came_back:
            return
        number = max(came_back, key=lambda each: (len(lives[each]), each))
        table = Table(box=None, show_header=False, pad_edge=False)
        for move in lives[number]:
            table.add_row(Text(move.topic.value), Text(move.issue_request_id))
        console.print()
        console.print(Text(f"The life of {number}, as its events told it", style="bold"))
        console.print(table)

    def _show_verdict(self, console: Console) -> None:
        checks = (*self.invariants, *self.checks)
        for each in checks:
            if each.broken:
                named = ", ".join(each.offenders) + (", ..." if each.broken > len(each.offenders) else "")
                console.print(Text(f"{each.name}: {each.broken} broken: {named}", style="red"))
        unseen = [each.name for each in checks if not each.holds and not each.broken]
        if unseen:
            console.print(Text(f"nothing was there to be checked: {', '.join(unseen)}", style="red"))
        if self.holds:
            console.print(Text(f"All {len(checks)} checks hold, after {self.seconds:.1f} s.", style="bold green"))
        else:
            console.print(Text(f"The demo failed{f': {self.failure}' if self.failure else ''}.", style="bold red"))

    def _waited(self) -> str:
        waited = self.outcome.course.waited
        return f"{waited} of them after waiting for a first range" if waited else ""

    def _refusals(self) -> dict[str, int]:
        return _counted(each.reason.value for each in self.outcome.audience.refused.values())

    def _claims_by_mode(self) -> dict[str, int]:
        return _counted(str(row["claim_mode"]) for row in self.outcome.claims)

    def _told_ahead(self) -> str:
        ahead = self.outcome.course.ahead
        return (
            "" if ahead is None else f"{ahead.organization} came down to low, and never ran out after its first range"
        )

    def _numbers(self) -> dict[str, int]:
        return _counted(str(row["status"]) for row in self.outcome.numbers)

    def _replies(self, keys: Iterable[str]) -> dict[str, int]:
        """Count what was answered, by the event that answered it."""
        replies = self.outcome.audience.replies
        return _counted(topic.value for key in keys for topic in {reply.topic for reply in replies.get(key, ())})

    def _used_again(self) -> int:
        times = Counter(m.number for m in self.outcome.audience.moves if m.topic is Topic.NUMBER_ASSIGNED)
        return sum(number > 1 for number in times.values())

    def _replayed(self) -> int:
        return sum(grant.times_asked > 1 for grant in self.outcome.grants)

    def _sent_again(self) -> int:
        return sum(times - 1 for times in self.outcome.traffic.sendings.values())


def _table_of_ranges(
    rows: Sequence[Mapping[str, object]],
    columns: Iterable[Sequence[tuple[str, str]]],
) -> Table:
    groups = list(columns)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for group in groups:
        numeric = group[0][1] in {"claimed", "remaining"}
        table.add_column("\n".join(title for title, _ in group), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(Text("\n".join(str(row[field]) for _, field in group)) for group in groups))
    return table


def _show_checks(console: Console, title: str, checks: Sequence[Check]) -> None:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("must hold")
    table.add_column("checked", justify="right")
    table.add_column("broken", justify="right")
    table.add_column("result")
    for each in checks:
        if each.holds:
            result = Text("holds" if each.checked else "not in this run", style="green" if each.checked else "")
        else:
            result = Text("BROKEN" if each.broken else "NO ROWS", style="bold red")
        table.add_row(each.name, str(each.checked), str(each.broken), result)
    console.print()
    console.print(Text(title, style="bold"))
    console.print(table)


def _as_report(checks: Iterable[Check]) -> dict[str, dict[str, int]]:
    return {each.name: {"checked": each.checked, "broken": each.broken} for each in checks}


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(Counter(words).most_common())


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items(), key=lambda item: (-item[1], item)))
