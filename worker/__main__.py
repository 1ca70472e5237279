"""`python -m worker` is `fuma`."""

import sys

from worker.cli.entry import run


def main() -> None:
    """Run the command line and end the process with its status."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
