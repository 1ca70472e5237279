"""Claiming ahead against claiming when the stock is empty: how many requests wait, under the same steady load.

    .venv/bin/python bench/claiming_ahead.py

Starts a RabbitMQ, a PostgreSQL and the LeQi simulator (300 ms a call) of its own, workers with their usual settings,
and a process that sends at its pace whatever the workers do; prints both runs with the rates that were reached.
`--taxpayers`, `--claims`, `--quantity`, `--rate`, `--batch`, `--workers` and `--latency-ms` change the load.
"""

# ruff: noqa: T201 -- what it finds out is printed

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.outside.ahead import Course, Load, run
from tests.support.outside.world import World
from tests.support.postgres import PrivatePostgres
from tests.support.rabbitmq import PrivateRabbitMQ


def main() -> int:
    """Run both; gives 1 unless nobody waited with claims made ahead, and somebody did without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = Load()
    parser.add_argument("--taxpayers", type=int, default=usual.taxpayers)
    parser.add_argument("--claims", type=int, default=usual.claims, help="that each taxpayer uses up")
    parser.add_argument("--quantity", type=int, default=usual.claim_quantity, help="numbers of one claim")
    parser.add_argument("--rate", type=float, default=usual.rate * 1.05, help="requests a second, all together")
    parser.add_argument("--batch", type=int, default=usual.batch, help="requests that one message carries")
    parser.add_argument("--workers", type=int, default=usual.workers)
    parser.add_argument("--latency-ms", type=float, default=usual.latency_ms)
    parser.add_argument("--threshold", type=float, default=0.2, help="share of the last claim that counts as low")
    given = parser.parse_args()
    load = Load(
        taxpayers=given.taxpayers,
        claims=given.claims,
        claim_quantity=given.quantity,
        rate=given.rate,
        batch=given.batch,
        latency_ms=given.latency_ms,
        workers=given.workers,
    )
    with PrivatePostgres() as postgres, PrivateRabbitMQ() as node:
        ahead = _course(postgres, node, load, given.threshold)
        print(f"low threshold {given.threshold:g}: {ahead}", flush=True)
        empty = _course(postgres, node, load, 0)
        print(f"only when empty: {empty}", flush=True)
    kept = min(ahead.answered_per_second, empty.answered_per_second)
    print(f"waited: {ahead.waited} with claiming ahead, {empty.waited} without; at {kept:.0f} requests/s or more")
    return 0 if ahead.waited == ahead.most_listed == 0 < empty.waited else 1


def _course(postgres: PrivatePostgres, node: PrivateRabbitMQ, load: Load, threshold: float) -> Course:
    with (
        tempfile.TemporaryDirectory() as folder,
        World(
            broker_url=node.new_vhost(),
            database_url=postgres.new_database(),
            folder=Path(folder),
        ) as world,
    ):
        return run(world, load, low_threshold=threshold)


if __name__ == "__main__":
    sys.exit(main())
