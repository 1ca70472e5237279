"""How much is measured: the whole, and the quick form that gives the ratios within five minutes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes and repetitions; what a contender gets is so much that it has some seconds to do."""

    name: str
    #: Turns in the throughput of those whom the bars name, and of all others; they alternate, so that noise hits all
    #: alike.
    rounds: int
    other_rounds: int
    #: Invoices for whoever is fast, for batches, and for whoever goes one by one.
    single: int
    batch: int
    one_by_one: int
    #: Only the main contenders, or all variants.
    variants: bool
    #: What the one-by-one workers are tried with, the best being taken, and the requests of a trial.
    prefetches: tuple[int, ...]
    prefetch_trial: int
    pgbench_seconds: int
    #: Seconds of load at each share of capacity, its rounds, and the requests by which capacity is measured.
    latency_seconds: float
    latency_rounds: int
    capacity: int
    textbook_capacity: int
    #: Numbers in the tables before, and the rounds over all of them.
    ledgers: tuple[int, ...]
    growth_rounds: int
    growth_invoices: int
    #: Ranges of one stock, used up before or open at once.
    ranges: tuple[int, ...]
    memory: int
    disk_gib: float


FULL = Plan(
    name="full",
    rounds=3,
    other_rounds=2,
    single=30_000,
    batch=90_000,
    one_by_one=1_500,
    variants=True,
    prefetches=(1, 10, 100),
    prefetch_trial=600,
    pgbench_seconds=3,
    latency_seconds=10,
    latency_rounds=2,
    capacity=40_000,
    textbook_capacity=4_500,
    ledgers=(0, 1_000_000, 10_000_000),
    growth_rounds=3,
    growth_invoices=15_000,
    ranges=(1, 100, 10_000),
    memory=1_000_000,
    disk_gib=25,
)

QUICK = Plan(
    name="quick",
    rounds=2,
    other_rounds=1,
    single=20_000,
    batch=60_000,
    one_by_one=600,
    variants=False,
    # The whole plan finds the best of three; there is no time for it here.
    prefetches=(10,),
    prefetch_trial=200,
    pgbench_seconds=1,
    latency_seconds=4,
    latency_rounds=1,
    capacity=20_000,
    textbook_capacity=1_200,
    ledgers=(0, 1_000_000),
    growth_rounds=1,
    growth_invoices=12_000,
    ranges=(),
    memory=200_000,
    disk_gib=6,
)

#: To see that everything works, on a machine that does other things: its figures mean nothing.
TINY = Plan(
    name="tiny",
    rounds=1,
    other_rounds=1,
    single=5_000,
    batch=20_000,
    one_by_one=150,
    variants=True,
    prefetches=(1, 10),
    prefetch_trial=20,
    pgbench_seconds=1,
    latency_seconds=1,
    latency_rounds=1,
    capacity=5_000,
    textbook_capacity=30,
    ledgers=(0, 100_000),
    growth_rounds=1,
    growth_invoices=5_000,
    ranges=(1,),
    memory=20_000,
    disk_gib=3,
)
