"""What a run left behind: the upstream's journal, the tables, and the authority's grants; read, not yet judged."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import dict_row

from tests.support.chaos.book import KEYS, topic_of
from tests.support.chaos.journal import Line

Row = Mapping[str, Any]


class Asked(NamedTuple):
    """One element of a message that was sent."""

    position: int
    topic: str
    key: str
    #: Its CloudEvents id: a repetition has the same.
    id: str
    data: Row
    #: The broker has confirmed its message.
    accepted: bool
    #: Sent because an operator's hand had thrown the first one away.
    again: bool


class Seen(NamedTuple):
    """One event that came."""

    position: int
    topic: str
    id: str
    time: datetime
    data: Row
    #: Of all that it tells, so that two of one id can be compared.
    digest: bytes


class Mark(NamedTuple):
    """Something that an operator's hand did, at its place among what was sent and seen."""

    position: int
    name: str
    more: Row


@dataclass
class Evidence:
    """All that the checker looks at."""

    asked: list[Asked] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    tables: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    grants: Sequence[Row] = field(default_factory=list)
    #: What was sent and accepted that nobody can read, and the bodies of the dead letters.
    garbage: list[str] = field(default_factory=list)
    dead_letters: list[str] = field(default_factory=list)
    #: Organisations nobody claims for, whose requests wait until somebody claims by hand.
    may_wait: frozenset[str] = frozenset()

    def restores(self) -> list[tuple[Mark, Mark]]:
        """Give each restore as its dump and the moment from which the restored database was in use."""
        dumps = [mark for mark in self.marks if mark.name == "dumped"]
        restored = [mark for mark in self.marks if mark.name == "restored"]
        return list(zip(dumps, restored, strict=False))


def read_journal(lines: Iterable[Line]) -> Evidence:
    """Read what was sent and seen."""
    evidence = Evidence()
    lines = list(lines)
    confirmed = {line["confirmed"] for line in lines if "confirmed" in line}
    for position, line in enumerate(lines):
        if "garbage" in line:
            evidence.garbage += [line["garbage"]] if line["sent"] in confirmed else []
        elif "sent" in line:
            accepted = line["sent"] in confirmed
            evidence.asked += (_asked(position, line, each, accepted=accepted) for each in line["events"])
        elif "came" in line:
            evidence.seen += (_seen(position, each) for each in line["came"])
        elif "mark" in line:
            evidence.marks.append(Mark(position, line["mark"], line))
    return evidence


def _asked(position: int, line: Line, element: Row, *, accepted: bool) -> Asked:
    data = element["data"]
    key = data[KEYS[line["topic"]]]
    return Asked(position, line["topic"], key, element["id"], data, accepted, line["again"])


def _seen(position: int, told: Row) -> Seen:
    content = json.dumps([told["type"], told["time"], told["data"]], sort_keys=True, ensure_ascii=False)
    digest = hashlib.blake2b(content.encode(), digest_size=16).digest()
    return Seen(position, topic_of(told), told["id"], datetime.fromisoformat(told["time"]), told["data"], digest)


_TABLES = {
    "numbers": """
        SELECT taxpayer_id, to_char(prefix, 'FM000000') || to_char(sequence, 'FM00000000000000') AS number,
               range_id::text AS range_id, status, issue_request_id, issue_date, step, event_id::text AS event_id
        FROM numbers""",
    "number_history": """
        SELECT taxpayer_id, to_char(prefix, 'FM000000') || to_char(sequence, 'FM00000000000000') AS number,
               status, issue_request_id, issue_date, step, event_id::text AS event_id
        FROM number_history""",
    "ranges": """
        SELECT taxpayer_id, range_id::text AS range_id, claim_id, status, claim_mode, year,
               to_char(prefix, 'FM000000') || to_char(first_sequence, 'FM00000000000000') AS first_number,
               to_char(prefix, 'FM000000') || to_char(last_sequence, 'FM00000000000000') AS last_number
        FROM ranges""",
    "claims": "SELECT taxpayer_id, claim_id, business_serial, status, reason, claim_mode, quantity FROM claims",
    "issue_requests": "SELECT taxpayer_id, issue_request_id, organization, status FROM issue_requests",
    "bindings": "SELECT binding_id, event_id::text AS event_id FROM number_bindings",
    "outcomes": "SELECT outcome_id, event_id::text AS event_id FROM invoice_outcomes",
    "refreshes": "SELECT refresh_id, taxpayer_id FROM refreshes",
    "stocks": "SELECT taxpayer_id, channel_mode, year, episode FROM stocks",
    "outbox": "SELECT * FROM outbox",
}


def read_tables(url: str) -> dict[str, list[Row]]:
    """Read what is stored, in one snapshot."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return {name: list(connection.execute(query.encode())) for name, query in _TABLES.items()}


def first_seen(seen: Sequence[Seen]) -> dict[str, Seen]:
    """Give the first coming of each event."""
    found: dict[str, Seen] = {}
    for each in seen:
        found.setdefault(each.id, each)
    return found


def year_of(value: object) -> int:
    """Tell the year of a day, as JSON or as PostgreSQL gives it."""
    return value.year if isinstance(value, date) else int(str(value)[:4])
