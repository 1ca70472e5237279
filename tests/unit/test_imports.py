"""What a worker loads: each module of no use to it takes its share of every worker's memory."""

import subprocess
import sys

_LOADED = """
import sys
import worker.cli.entry
import worker.cli.worker
import worker.running
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_a_worker_does_without_what_migrates() -> None:
    loaded = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True).stdout.split()

    assert {"pika", "psycopg", "worker"} <= set(loaded)
    assert "alembic" not in loaded
    assert "mako" not in loaded
