"""`fuma audit` over millions of numbers: how long it takes, and the memory that it and its database session need.

    .venv/bin/python -m bench.audit_at_scale --numbers 10000000

Fills a PostgreSQL of its own with numbers of 20 taxpayers, a fifth of them used by an outcome and so with a history,
runs the command once, and prints its own table with what it took. Takes some 12 GiB of disk for ten million.
"""

# ruff: noqa: T201 -- what it finds out is printed

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import psutil
import psycopg

from bench.load import Load
from bench.stock import RANGE_SIZE, fill_stock
from tests.support.event_ids import written_of_change
from tests.support.postgres import SETTINGS, PrivatePostgres

_MB = 1_000_000
_FUMA = Path(sys.executable).with_name("fuma")

# By the way of the worker's own statement: the database's triggers write the history. Nobody is told of these changes,
# which the database would refuse.
_USE_A_FIFTH = f"""
    ALTER TABLE numbers DISABLE TRIGGER changed_number_is_to_be_told;
    UPDATE numbers SET status = 'used', step = step + 1, changed_at = now(), changed_by = 'upload ' || sequence,
        event_id = {written_of_change(step="step + 1")}
    WHERE sequence % 5 = 0;
    INSERT INTO invoice_outcomes (taxpayer_id, environment, outcome_id, organization, issue_request_id, prefix,
        sequence, outcome, reuse, became, event_id, answered_at)
    SELECT n.taxpayer_id, n.environment, 'upload ' || n.sequence, q.organization, n.issue_request_id, n.prefix,
        n.sequence, 'uploaded', true, 'used', n.event_id, n.changed_at
    FROM numbers AS n JOIN issue_requests AS q USING (taxpayer_id, environment, issue_request_id)
    WHERE n.status = 'used';
    UPDATE deployment SET overdue_until = now();
    ALTER TABLE numbers ENABLE TRIGGER changed_number_is_to_be_told
"""  # noqa: S608 -- constants


class _Postgres(PrivatePostgres):
    settings: ClassVar[Mapping[str, str]] = {**SETTINGS, "shared_buffers": "512MB", "max_wal_size": "4GB"}


class Peak:
    """The most memory of its own (without what all sessions share) that each of some processes ever had."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self.bytes = 0

    def see(self, process_id: int) -> None:
        """Look at a process that may have ended."""
        try:
            memory = psutil.Process(process_id).memory_info()
        except psutil.NoSuchProcess:
            return
        self.bytes = max(self.bytes, memory.rss - memory.shared)


def main() -> int:
    """Fill, audit, print; gives the audit's exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=int, default=1_000_000)
    numbers = parser.parse_args().numbers
    load = Load(invoices=1000)
    with _Postgres() as postgres:
        url = postgres.new_migrated_database()
        began = time.monotonic()
        # What is written is sound, and nobody else looks: no trigger needs to check it row by row.
        sound = f"{url}?options=-c%20session_replication_role%3Dreplica"
        fill_stock(sound, load, used_ranges=-(-numbers // RANGE_SIZE // load.taxpayers))
        with psycopg.connect(url) as connection:
            connection.execute(_USE_A_FIFTH)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")
            (size,) = connection.execute("SELECT pg_database_size(current_database())").fetchall()[0]
            (stored,) = connection.execute("SELECT count(*) FROM numbers").fetchall()[0]
        print(f"filled {stored:,} numbers, {size / _MB:,.0f} MB, in {time.monotonic() - began:.0f} s", flush=True)
        return _measure(url)


def _measure(url: str) -> int:
    environment = {**os.environ, "FUMA_DATABASE_URL": url, "FUMA_ENVIRONMENT": "sandbox"}
    began = time.monotonic()
    command, session = Peak(), Peak()
    with subprocess.Popen([_FUMA, "audit"], env=environment) as running:
        ended = threading.Event()
        looking = threading.Thread(target=_look, args=(url, running.pid, command, session, ended))
        looking.start()
        status = running.wait()
        ended.set()
        looking.join()
    print(
        f"{time.monotonic() - began:.0f} s; memory at most {command.bytes / _MB:.0f} MB of the command,"
        f" {session.bytes / _MB:.0f} MB of its database session",
    )
    return status


def _look(url: str, command_id: int, command: Peak, session: Peak, ended: threading.Event) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        while not ended.wait(0.1):
            command.see(command_id)
            others = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            for (pid,) in others.fetchall():
                session.see(pid)


if __name__ == "__main__":
    sys.exit(main())
