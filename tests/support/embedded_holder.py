"""A command that uses the embedded PostgreSQL, as a program: `python -m tests.support.embedded_holder HOME`.

It prints the database's address once it has it, and ends in order when its standard input ends.
"""

import sys
from pathlib import Path

from db.embedded import EmbeddedPostgres

#: Without waiting for the disk: what a kill leaves is the operating system's to write.
THROW_AWAY = {"fsync": "off"}

if __name__ == "__main__":
    with EmbeddedPostgres(Path(sys.argv[1]), settings=THROW_AWAY) as url:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        sys.stdin.read()
