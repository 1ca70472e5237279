"""Rule-breaking changes of the code, each of which the machine must catch: what is replaced by what.

Nothing on disk changes: a process that plays with a mutant reads the file so as it imports it.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import NoReturn

_ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One rule broken; `old` stands once in the file."""

    name: str
    #: The game that comes to it soonest.
    game: int
    file: str
    old: str
    new: str

    def mutate(self, source: str) -> str:
        """Break the rule in the file's text; raises `ValueError` where the code is no longer as it was."""
        if source.count(self.old) != 1:
            message = f"{self.name}: {self.file} has its old text {source.count(self.old)} times"
            raise ValueError(message)
        return source.replace(self.old, self.new)

    @property
    def path(self) -> Path:
        """Where the file is."""
        return _ROOT / self.file

    def apply(self) -> None:
        """Let this process import the file with the rule broken; nothing may have imported it before."""
        module = self.file.removesuffix(".py").replace("/", ".")
        if module in sys.modules:
            message = f"{module} is imported already"
            raise ValueError(message)
        sys.meta_path.insert(0, _Finder(module, self))


class _Finder(MetaPathFinder):
    def __init__(self, module: str, mutant: Mutant) -> None:
        self._module = module
        self._mutant = mutant

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find the one module."""
        del path, target
        if fullname != self._module:
            return None
        return spec_from_file_location(fullname, self._mutant.path, loader=_Loader(fullname, self._mutant))


class _Loader(SourceFileLoader):
    def __init__(self, module: str, mutant: Mutant) -> None:
        super().__init__(module, str(mutant.path))
        self._mutant = mutant

    def get_data(self, path: str) -> bytes:
        """Read the file, and break it."""
        return self._mutant.mutate(super().get_data(path).decode()).encode()

    def path_stats(self, path: str) -> NoReturn:
        """Know no times: compiled code is neither read nor written."""
        raise OSError(path)


MUTANTS = (
    Mutant(
        "the cursor does not move",
        7,
        "worker/decisions/shelf.py",
        "self._moved[current.range_id] = self._next",
        "self._moved[current.range_id] = sequence",
    ),
    Mutant(
        "a released number is not taken first",
        4,
        "worker/decisions/shelf.py",
        "if self._pool:",
        "if self._pool and not self._ranges:",
    ),
    Mutant(
        "the last number of a range is left",
        1,
        "worker/decisions/shelf.py",
        "if self._next <= current.last_sequence:",
        "if self._next < current.last_sequence:",
    ),
    Mutant(
        "an invoice of January gets a number of the old year",
        8,
        "worker/issuing.py",
        "StockKey(channel.taxpayer_id, channel.channel_mode, request.issue_date.year)",
        "StockKey(channel.taxpayer_id, channel.channel_mode, (request.issue_date - timedelta(days=20)).year)",
    ),
    Mutant(
        "who came last is served first",
        7,
        "db/issue_requests.py",
        """AND EXTRACT(year FROM issue_date) = :year AND status = 'waiting'
    ORDER BY queue_position""",
        """AND EXTRACT(year FROM issue_date) = :year AND status = 'waiting'
    ORDER BY queue_position DESC""",
    ),
    Mutant(
        "a newcomer passes those who wait for a resumed taxpayer",
        2,
        "worker/pausing.py",
        "for key in used for answer in self._stocking.serve_waiting(connection, key, now)",
        "for key in used[:0] for answer in self._stocking.serve_waiting(connection, key, now)",
    ),
    Mutant(
        "a grant serves nobody who waits",
        7,
        "worker/settling.py",
        "return [claimed, *self._stocking.serve_waiting(connection, key, now)]",
        "return [claimed]",
    ),
    Mutant(
        "a paused taxpayer issues",
        2,
        "worker/decisions/assignment.py",
        "if not shelf.stock.paused:",
        "if shelf.stock:",
    ),
    Mutant(
        "a request with other content gets the number of the first",
        7,
        "worker/decisions/assignment.py",
        "if not same:",
        "if same is None:",
    ),
    Mutant(
        "a copy of an old message gets a number anew",
        1,
        "worker/decisions/assignment.py",
        "if (asked.key, asked.message) in known.answered:",
        "if (asked.key, asked.message) in ():",
    ),
    Mutant(
        "a copy of what came while its request waited gets a number anew",
        2,
        "worker/issuing.py",
        "[(each.key, each.message) for each in decisions.waiting_again]",
        "[(each.key, each.message) for each in decisions.waiting_again[:0]]",
    ),
    Mutant(
        "a bound number is not used by its request",
        2,
        "worker/decisions/assignment.py",
        "bound = known.bound.get(asked.key)",
        "bound = {}.get(asked.key)",
    ),
    Mutant(
        "the same answer has another event id when it is given again",
        7,
        "worker/issuing.py",
        "known.assigned_at, str(known.event_id)",
        "known.assigned_at, str(known.range_id)",
    ),
    Mutant(
        "issuing takes released manual numbers by itself",
        3,
        "db/numbers.py",
        "WHERE r.environment = :environment AND r.status = 'active' AND r.claim_mode = 'automatic'",
        "WHERE r.environment = :environment AND r.status = 'active'",
    ),
    Mutant(
        "ranges out of use still issue",
        4,
        "db/ranges.py",
        """r.status = 'active' AND r.claim_mode = 'automatic'
    ORDER BY""",
        """r.status IN ('active', 'expired', 'retired') AND r.claim_mode = 'automatic'
    ORDER BY""",
    ),
    Mutant(
        "binding ignores the channel mode",
        3,
        "worker/decisions/binding.py",
        "if known.number.channel_mode != wanted.channel_mode:",
        "if known.number.channel_mode is None:",
    ),
    Mutant(
        "anybody frees a bound number",
        3,
        "worker/decisions/binding.py",
        "if number.holder != wanted.issue_request_id:",
        "if number.holder is None:",
    ),
    Mutant(
        "an uploaded number is released",
        2,
        "worker/decisions/outcomes.py",
        '_AWAITED = ("assigned", "held")',
        '_AWAITED = ("assigned", "held", "used")',
    ),
    Mutant(
        "a late outcome moves the number of another request",
        7,
        "worker/decisions/outcomes.py",
        'if number is None or number.holder != reported.key.issue_request_id or number.status == "bound":',
        'if number is None or number.holder is None or number.status == "bound":',
    ),
    Mutant(
        "a number that shall not be used again comes back",
        1,
        "worker/decisions/outcomes.py",
        "returns = reported.reuse and ",
        "returns = ",
    ),
    Mutant(
        "a second automatic claim is made for a stock",
        3,
        "worker/claiming.py",
        "if channel is None or has_open_automatic_claim(connection, self._environment, *key):",
        "if channel is None:",
    ),
    Mutant(
        "a late copy of an exhaustion leads to a claim",
        4,
        "worker/claiming.py",
        "if (key, stock.episode) in episodes:",
        "if stock:",
    ),
    Mutant(
        "what December was refused limits the new year",
        4,
        "worker/decisions/claims.py",
        "if now >= year_begins and (",
        "if now < year_begins and (",
    ),
    Mutant(
        "a stock is low by a release that is claimed for only when it is empty",
        8,
        "worker/outcomes.py",
        "if stocks[key].low_at > 0:",
        "if stocks[key].low_at >= 0:",
    ),
    Mutant(
        "an exhaustion is not counted",
        3,
        "db/stocks.py",
        "SET level = 'exhausted', episode = episode + 1,",
        "SET level = 'exhausted', episode = episode,",
    ),
    Mutant(
        "a refused replay ends a claim that may have been granted",
        8,
        "worker/settling.py",
        "case Refused() if claim.unknown_outcomes == 0:",
        "case Refused() if claim.unknown_outcomes >= 0:",
    ),
    Mutant(
        "a grant that is too short is used",
        2,
        "worker/decisions/grants.py",
        "if count != asked:",
        "if count > asked:",
    ),
    Mutant(
        "a grant that overlaps a held range is used",
        2,
        "worker/settling.py",
        "if self._stocking.overlaps(connection, grant.first, grant.last):",
        "if self._stocking.overlaps(connection, grant.last.plus(1), grant.last.plus(1)):",
    ),
    Mutant(
        "a range that another system claimed is issued from",
        7,
        "worker/comparing.py",
        'status="foreign",',
        'status="active",',
    ),
    Mutant(
        "a bound number outlives its range",
        7,
        "db/held_ranges.py",
        """AND n.status IN ('available', 'bound')
        RETURNING""",
        """AND n.status = 'available'
        RETURNING""",
    ),
)
