"""A database whose tables are split by taxpayer, as docs/partition-by-taxpayer.sql does it for an operator."""

from pathlib import Path

import psycopg

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "partition-by-taxpayer.sql"


def split_by_taxpayer(url: str, partitions: int) -> None:
    """Run the script; nobody else may be at work in the database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT set_config('fuma.partitions', %s, false)", (str(partitions),))
        connection.execute(SCRIPT.read_bytes())
