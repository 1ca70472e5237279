"""The files in examples/, as a reader of README.md uses them."""

import subprocess
import sys
from pathlib import Path

from tests.support.outside.identities import china_today
from tests.support.outside.world import World

EXAMPLES = Path(__file__).parents[3] / "examples"


def ask(world: World, organization: str, key: str) -> str:
    """Run the example program, and give the line that it prints."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "ask_for_a_number.py"), organization, key, china_today().isoformat()],
        env={"FUMA_BROKER_URL": world.broker_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}\n{world.logs()}"
    assert done.stderr == ""
    return done.stdout.strip()


def test_the_example_program_gets_a_number_for_an_example_organisation(world: World) -> None:
    world.fuma.ok("organizations", "import", str(EXAMPLES / "organizations.yaml"))
    world.worker()
    first = ask(world, "A01", "INV-1")
    assert [row["invoice_number"] for row in world.numbers("--status", "assigned")] == [first]
    # The same request again, and another one of the same stock.
    assert ask(world, "A01", "INV-1") == first
    assert int(ask(world, "A02", "INV-2")) == int(first) + 1
    assert "unknown-organization" in ask(world, "Z99", "INV-1")
