"""`python -m bench`: measures, prints, and writes results, plot and the tables of docs/performance.md.

make bench          everything
make bench-quick    the ratios, within five minutes
"""

import argparse
import json
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from bench import throughput
from bench.bars import bars
from bench.contenders import Contender, fuma, textbook
from bench.growth import Ledger, memory_over, ranges_rate
from bench.latency import commit_ms, confirm_ms, measure_capacity, measure_latency, pool
from bench.load import Load
from bench.page import write_page
from bench.plan import FULL, QUICK, TINY, Plan
from bench.plot import draw
from bench.report import tables
from bench.servers import Servers, TooSmallError

RESULTS = Path(__file__).parent / "results"

#: Shares of the measured capacity at which latency is measured, by their name in the results.
SHARES = {"tenth": 0.1, "half_load": 0.5, "nine_tenths": 0.9}


class Bench:
    """One run of a plan on servers that are up."""

    def __init__(self, servers: Servers, plan: Plan) -> None:
        self._servers = servers
        self._plan = plan
        self._began = time.monotonic()

    def run(self) -> dict[str, Any]:
        """Measure everything that the plan has; gives the results as their file has them."""
        results: dict[str, Any] = {
            "plan": self._plan.name,
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),  # noqa: TID251 -- when this was, truly
            "machine": self._servers.describe(),
        }
        tried = throughput.choose_prefetch(self._servers, self._plan, self.say)
        chosen = {name: throughput.best(rates) for name, rates in tried.items()}
        results["prefetch"] = {"tried": tried, "chosen": chosen}
        found = throughput.entries(self._servers, self._plan, chosen)
        throughput.run_rounds(found, self._plan, self.say)
        results["throughput"] = {name: entry.as_json() for name, entry in found.items()}
        results["ratios"] = throughput.ratios(found)
        results["profile"] = {
            "textbook": throughput.profile_textbook(self._servers, self._plan, chosen["textbook"]),
        }
        results["latency_ms"] = self._latency(chosen["textbook"])
        results["growth"] = self._growth()
        results["memory_mb"] = self._memory()
        results["bars"] = [bar.as_json() for bar in bars(results)]
        results["minutes"] = round((time.monotonic() - self._began) / 60, 1)
        return results

    def say(self, what: str) -> None:
        """Show how it goes on."""
        print(f"[{time.monotonic() - self._began:6.0f} s] {what}", flush=True)  # noqa: T201 -- a program's progress

    def _latency(self, prefetch: int) -> dict[str, Any]:
        plan = self._plan
        told: dict[str, Any] = {
            "subscriber_queue": "quorum, durable, acknowledged by many",
            "single_row_commit": commit_ms(self._servers),
            "quorum_confirm": confirm_ms(self._servers),
        }
        told["tenth_allowed"] = 3 * (told["single_row_commit"] + 2 * told["quorum_confirm"])
        told |= self._latency_of(fuma(), plan.capacity, SHARES)
        shares = SHARES if plan.variants else {"half_load": SHARES["half_load"]}
        told["textbook"] = self._latency_of(textbook(prefetch), plan.textbook_capacity, shares)
        return told

    def _latency_of(self, contender: Contender, invoices: int, shares: dict[str, float]) -> dict[str, Any]:
        capacity = measure_capacity(self._servers, contender, Load(invoices))
        self.say(f"{contender.name} sustains {capacity:,.0f}/s with generator and subscriber beside it")
        courses: dict[str, list[Any]] = {name: [] for name in shares}
        for _ in range(self._plan.latency_rounds):
            for name, share in shares.items():
                course = measure_latency(self._servers, contender, capacity * share, self._plan.latency_seconds)
                courses[name].append(course)
                told = course.as_json()
                self.say(f"{contender.name} at {name}: p50 {told['p50']:.1f} ms, p99 {told['p99']:.1f} ms")
        return {
            "capacity_per_second": capacity,
            **{
                name: {**pool(each).as_json(), "p99_rounds": [course.as_json()["p99"] for course in each]}
                for name, each in courses.items()
            },
        }

    def _growth(self) -> dict[str, Any]:
        plan = self._plan
        ledgers = []
        for numbers in plan.ledgers:
            ledgers.append(
                Ledger(self._servers, numbers, rounds=plan.growth_rounds, invoices=plan.growth_invoices),
            )
            self.say(f"filled: {numbers:,} numbers")
        through: dict[int, list[float]] = {ledger.numbers: [] for ledger in ledgers}
        statements: dict[int, list[float]] = {ledger.numbers: [] for ledger in ledgers}
        for _ in range(plan.growth_rounds):
            for ledger in ledgers:
                through[ledger.numbers].append(1e6 / ledger.through_the_worker().invoices_per_second)
                statements[ledger.numbers].append(1e6 / ledger.by_statements())
                self.say(
                    f"{ledger.numbers:,} numbers: {through[ledger.numbers][-1]:.0f} µs an invoice,"
                    f" statements alone {statements[ledger.numbers][-1]:.0f} µs"
                )
        for ledger in ledgers:
            ledger.remove()
        million, ten_million = 1_000_000, 10_000_000
        return {
            "microseconds_an_invoice": {str(numbers): median(costs) for numbers, costs in through.items()},
            "microseconds_statements_alone": {str(numbers): median(costs) for numbers, costs in statements.items()},
            "rounds": {str(numbers): costs for numbers, costs in through.items()},
            "one_million_to_empty": _times_empty(through, million),
            "ten_million_to_empty": _times_empty(through, ten_million),
            "statements_one_million_to_empty": _times_empty(statements, million),
            "statements_ten_million_to_empty": _times_empty(statements, ten_million),
            "ranges": {str(count): self._ranges(count) for count in plan.ranges},
        }

    def _ranges(self, count: int) -> dict[str, float]:
        """Tell what an invoice costs a stock that has used up so many ranges, and one that has so many open."""
        invoices = self._plan.growth_invoices
        used = 1e6 / ranges_rate(self._servers, invoices, used=count, range_size=10, fresh=invoices // 10 + 1)
        fresh = 1e6 / ranges_rate(self._servers, invoices, fresh=count)
        self.say(f"{count:,} ranges: used up {used:.0f} µs an invoice, open {fresh:.0f} µs")
        return {"used_up": used, "open": fresh}

    def _memory(self) -> dict[str, Any]:
        memory = memory_over(self._servers, self._plan.memory)
        self.say(f"a worker held {memory.peak_mb:.0f} MB at most over {memory.invoices:,} invoices")
        return {
            "peak": memory.peak_mb,
            "early": memory.early_mb,
            "late": memory.late_mb,
            "growth": memory.growth,
            "invoices": memory.invoices,
        }


def main() -> int:
    """Run a plan; gives 1 where the machine is too small for it. A bar that is missed is shown, and no error."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--plan", choices=["full", "quick", "tiny"], default="full")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of latest.json and the plot")
    parser.add_argument("--page", action=argparse.BooleanOptionalAction, default=True, help="write the page's tables")
    given = parser.parse_args()
    # Told to end, it ends everything that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    plan = {each.name: each for each in (FULL, QUICK, TINY)}[given.plan]
    try:
        with Servers(disk_gib=plan.disk_gib) as servers:
            results = Bench(servers, plan).run()
    except TooSmallError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- a program's word
        return 1
    given.results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=2, ensure_ascii=False)
    (given.results / "latest.json").write_text(text + "\n", encoding="utf-8")
    draw(results, given.results / "latest")
    if given.page:
        write_page(results)
    for title, table in tables(json.loads(text)).items():
        print(f"\n{title}\n\n{table}")  # noqa: T201 -- what it finds out is printed
    return 0


def _times_empty(costs: dict[int, list[float]], numbers: int) -> float | None:
    """Give how many times as much an invoice cost as in the empty table, by the median; None: not measured."""
    return throughput.paired(costs[numbers], costs[0]) if numbers in costs else None


if __name__ == "__main__":
    sys.exit(main())
