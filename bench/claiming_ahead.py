"""Claiming ahead against claiming when the stock is empty: how many requests wait, under the same load.

    .venv/bin/python bench/claiming_ahead.py

Starts a RabbitMQ, a PostgreSQL and the LeQi simulator (300 ms a call) of its own, one worker with its usual settings,
and prints both runs. `--taxpayers`, `--claims`, `--quantity`, `--rate` and `--latency-ms` change the load.
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
    """Run both; gives 1 where a request waited although claims were made ahead."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = Load()
    parser.add_argument("--taxpayers", type=int, default=usual.taxpayers)
    parser.add_argument("--claims", type=int, default=usual.claims)
    parser.add_argument("--quantity", type=int, default=usual.claim_quantity)
    parser.add_argument("--rate", type=float, default=usual.rate * 1.1, help="requests a second, all together")
    parser.add_argument("--latency-ms", type=float, default=usual.latency_ms)
    parser.add_argument("--threshold", type=float, default=0.2, help="share of the last claim that counts as low")
    given = parser.parse_args()
    load = Load(given.taxpayers, given.claims, given.quantity, given.rate, given.latency_ms)
    with PrivatePostgres() as postgres, PrivateRabbitMQ() as node:
        ahead = _course(postgres, node, load, given.threshold)
        print(f"low threshold {given.threshold:g}: {ahead}", flush=True)
        empty = _course(postgres, node, load, 0)
        print(f"only when empty: {empty}", flush=True)
    return 0 if ahead.waited == 0 else 1


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
