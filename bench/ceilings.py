"""The ceiling of one row at a time: `pgbench` with the transaction that every one-by-one worker comes down to."""

import re
import subprocess
import tempfile
from pathlib import Path

import psycopg

from bench.servers import Servers

SERIES = 1000

#: Lock the cursor, move it on, write the number down: the least that binds a number to an invoice for good.
TRANSACTION = """
BEGIN;
SELECT current FROM single_series WHERE series = :series FOR UPDATE;
UPDATE single_series SET current = current + 1 WHERE series = :series;
INSERT INTO single_numbers (series, number, assigned_at)
    SELECT series, current, now() FROM single_series WHERE series = :series;
COMMIT;
"""


def pgbench(servers: Servers, *, clients: int, seconds: int) -> float:
    """Tell how many single-row transactions a second so many clients bring about together."""
    url = servers.postgres.new_database()
    with psycopg.connect(url) as connection:
        connection.execute("""
            CREATE TABLE single_series (series integer PRIMARY KEY, current bigint NOT NULL) WITH (fillfactor = 50);
            CREATE TABLE single_numbers (series integer NOT NULL, number bigint NOT NULL,
                assigned_at timestamptz NOT NULL, PRIMARY KEY (series, number))
        """)
        connection.execute("INSERT INTO single_series SELECT s, 0 FROM generate_series(1, %s) AS s", (SERIES,))
    servers.checkpoint()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "single-row.sql"
        script.write_text(f"\\set series random(1, {SERIES})\n{TRANSACTION}", encoding="utf-8")
        done = subprocess.run(
            [
                str(servers.postgres.programs / "pgbench"),
                "--no-vacuum",
                "--protocol=prepared",
                f"--client={clients}",
                f"--jobs={min(2, clients)}",
                f"--time={seconds}",
                f"--file={script}",
                url,
            ],
            capture_output=True,
            text=True,
            check=True,
        )
    servers.postgres.drop_database(url)
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    if found is None:
        message = f"pgbench said no rate: {done.stdout}"
        raise RuntimeError(message)
    return float(found[1])
