"""Throughput, in rounds: every contender and every ceiling in turn, again and again, in one call."""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.ceilings import pgbench
from bench.contenders import Contender, celery, counter_row, fuma, relay, segment, textbook
from bench.drain import Drain, drain
from bench.figures import spread
from bench.growth import statements_rate
from bench.load import Form, Load
from bench.plan import Plan
from bench.servers import Servers
from bench.textbook import phases_of

#: Whom the bars name.
MAIN = ("relay", "fuma_single", "textbook", "celery", "fuma_batch")

Say = Callable[[str], None]


@dataclass(slots=True)
class Entry:
    """One line of the results."""

    title: str
    load: Load | None
    #: Runs it once.
    run: Callable[[], Drain]
    runs: list[Drain] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Invoices a second, round by round."""
        return [run.invoices_per_second for run in self.runs]

    def as_json(self) -> dict[str, Any]:
        """Give it as the results file has it."""
        parts = self.runs[0].cpu
        return {
            "title": self.title,
            "taxpayers": None if self.load is None else self.load.taxpayers,
            "form": None if self.load is None else self.load.form.value,
            "invoices": None if self.load is None else self.load.invoices,
            "invoices_per_second": median(self.rates),
            "spread": spread(self.rates),
            "rounds": self.rates,
            "cpu_seconds_per_1000": {part: median(run.cpu[part] for run in self.runs) for part in parts},
            "memory_mb": max(run.memory_mb for run in self.runs),
        }


def choose_prefetch(servers: Servers, plan: Plan, say: Say) -> dict[str, dict[int, float]]:
    """Try each prefetch with both textbook workers; gives the invoices a second of each."""
    tried: dict[str, dict[int, float]] = {}
    for name, contender in (("textbook", textbook), ("celery", celery)):
        tried[name] = {}
        for prefetch in plan.prefetches:
            run = drain(servers, contender(prefetch), Load(plan.prefetch_trial))
            tried[name][prefetch] = run.invoices_per_second
            say(f"{name}, prefetch {prefetch}: {run.invoices_per_second:,.0f}/s")
    return tried


def best(tried: Mapping[int, float]) -> int:
    """Give the prefetch with the highest rate."""
    return max(tried, key=lambda prefetch: tried[prefetch])


def entries(servers: Servers, plan: Plan, prefetch: Mapping[str, int]) -> dict[str, Entry]:
    """Give everything that is measured in each round, by its name in the results."""
    kombu_prefetch, celery_prefetch = prefetch["textbook"], prefetch["celery"]

    def entry(contender: Contender, load: Load) -> Entry:
        return Entry(contender.title, load, lambda: drain(servers, contender, load))

    single, one_by_one = Load(plan.single), Load(plan.one_by_one)
    found = {
        "relay": entry(relay(), single),
        "fuma_single": entry(fuma(), single),
        "textbook": entry(textbook(kombu_prefetch), one_by_one),
        "fuma_batch": entry(fuma(), Load(plan.batch, form=Form.BATCH)),
        "celery": entry(celery(celery_prefetch), one_by_one),
        "fuma_batch_mixed": entry(fuma(), Load(plan.batch, form=Form.MIXED)),
        "counter_row": entry(counter_row(kombu_prefetch), one_by_one),
        "fuma_single_2_workers": entry(fuma(2), single),
        "segment": entry(segment(), single),
        "statements": Entry(
            "PostgreSQL alone: the worker's own handling in batches of 1,000, no broker",
            single,
            lambda: _statements(servers, single),
        ),
        "pgbench_1": _pgbench(servers, plan, 1),
        "pgbench_16": _pgbench(servers, plan, 16),
    }
    if plan.variants:
        found |= {
            "fuma_single_1_taxpayer": entry(fuma(), Load(plan.single, 1)),
            "fuma_single_1000_taxpayers": entry(fuma(), Load(plan.single, 1000)),
            "fuma_batch_2_workers": entry(fuma(2), Load(plan.batch, form=Form.BATCH)),
            "textbook_2_workers": entry(textbook(kombu_prefetch, 2), one_by_one),
            "celery_2_workers": entry(celery(celery_prefetch, 2), one_by_one),
            "counter_row_2_workers_1_series": entry(counter_row(kombu_prefetch, 2), Load(plan.one_by_one, 1)),
        }
    return found


def run_rounds(found: Mapping[str, Entry], plan: Plan, say: Say) -> None:
    """Run everything once in each of its rounds."""
    for number in range(1, plan.rounds + 1):
        for name, entry in found.items():
            if name in MAIN or number <= plan.other_rounds:
                run = entry.run()
                entry.runs.append(run)
                say(f"round {number} of {plan.rounds}: {name}: {run.invoices_per_second:,.0f}/s")


def paired(one: Iterable[float], other: Iterable[float]) -> float:
    """Give the median of how many times as fast one was as the other, over the rounds in which both ran."""
    return median(a / b for a, b in zip(one, other, strict=False))


def ratios(found: Mapping[str, Entry]) -> dict[str, float]:
    """Give Fuma's rate as a multiple of each ceiling's and each peer's."""
    rates = {name: entry.rates for name, entry in found.items()}
    fastest_textbook = [max(pair) for pair in zip(rates["textbook"], rates["celery"], strict=True)]
    told = {
        "single_to_relay": paired(rates["fuma_single"], rates["relay"]),
        "single_to_textbook": paired(rates["fuma_single"], fastest_textbook),
        "batch_to_relay": paired(rates["fuma_batch"], rates["relay"]),
        "batch_mixed_to_relay": paired(rates["fuma_batch_mixed"], rates["relay"]),
        "two_workers_to_one": paired(rates["fuma_single_2_workers"], rates["fuma_single"]),
        "batch_to_statements": paired(rates["fuma_batch"], rates["statements"]),
    }
    peers = [name for name in rates if not name.startswith(("fuma", "relay"))]
    told |= {f"single_to_{name}": paired(rates["fuma_single"], rates[name]) for name in peers if name != "textbook"}
    told["single_to_textbook_kombu"] = paired(rates["fuma_single"], rates["textbook"])
    return told


def profile_textbook(servers: Servers, plan: Plan, prefetch: int) -> dict[str, float]:
    """Tell where a textbook worker's time goes: shares of the time that it takes for one message."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "textbook.profile"
        drain(servers, textbook(prefetch, profile=file), Load(plan.prefetch_trial))
        return phases_of(file)


def _statements(servers: Servers, load: Load) -> Drain:
    stage = servers.new_stage(load)
    rate = statements_rate(servers, stage.database_url, load)
    servers.remove(stage)
    return Drain(rate, {}, 0.0)


def _pgbench(servers: Servers, plan: Plan, clients: int) -> Entry:
    return Entry(
        f"pgbench: the single-row transaction, {clients} client{'s' if clients > 1 else ''}",
        None,
        lambda: Drain(pgbench(servers, clients=clients, seconds=plan.pgbench_seconds), {}, 0.0),
    )
