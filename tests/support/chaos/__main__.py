"""The long form: `python -m tests.support.chaos --requests 200000 --faults 500 --minutes 23 --seed 1`."""

import argparse
import json
import shutil
import signal
import sys
import time
from pathlib import Path

from tests.support.chaos.report import table, write_on_page
from tests.support.chaos.run import Run, Terms, figures
from tests.support.chaos.stage import Stage

#: What each stretch of a run has besides its faults, in turn.
ROUNDS = ("plain", "queue", "restore", "new-year", "plain", "queue-of-outcomes")


def main() -> int:
    """Run until there were enough faults over enough requests, or the time is over; judge what is left in any case."""
    told = _arguments()
    # Whoever ends the run ends its servers and its small disk in order, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rounds = 0
    terms = Terms(seed=told.seed, rate=told.rate, pause=told.pause, stretch=told.stretch, workers=told.workers)
    with Stage(workers=terms.workers, disk_mb=terms.disk_mb) as stage:
        run = Run(stage, terms)
        try:
            run.begin()
            run.crash_at_each_point(within=240)
            ends_at = time.monotonic() + told.minutes * 60
            while time.monotonic() < ends_at and not _enough(run, told):
                _round(run, ROUNDS[rounds % len(ROUNDS)] if rounds < len(ROUNDS) else _later(rounds))
                rounds += 1
                _say(run, rounds)
            result = run.result()
        except AssertionError as error:
            # What a calm did not bring to its end, or what did not come in time.
            sys.stdout.write(f"{error}\n")
            result = run.result()
            result.complaints.append(str(error))
        finally:
            run.close()
            if told.keep is not None:
                shutil.copytree(stage.folder, told.keep, ignore=shutil.ignore_patterns("disk"), dirs_exist_ok=True)
                shutil.copytree(stage.node.folder / "log", told.keep / "node", dirs_exist_ok=True)
        summary = figures(result, terms, rounds)
    text = table(summary)
    sys.stdout.write(text)
    told.report.parent.mkdir(parents=True, exist_ok=True)
    told.report.with_suffix(".txt").write_text(text, encoding="utf-8")
    told.report.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if told.page is not None:
        write_on_page(told.page, summary)
    short = summary["faults_in_all"] < told.faults or summary["requests"] < told.requests
    if short:
        sys.stdout.write("fewer faults or requests than asked for\n")
    return 0 if result.holds and not short else 1


def _later(rounds: int) -> str:
    """Give the kind of a later round: New Year comes once."""
    return ("plain", "queue", "plain", "restore", "plain", "queue-of-outcomes")[rounds % 6]


def _round(run: Run, kind: str) -> None:
    """Go through one stretch of faults and the calm behind it."""
    match kind:
        case "queue":
            run.delete_queue("invoice-issuing")
        case "queue-of-outcomes":
            run.delete_queue("invoice-outcome")
        case "new-year":
            run.cross_new_year()
        case _:
            pass
    if kind == "restore":
        run.restore_after(run.terms.stretch / 2)
    else:
        run.disturb(run.terms.stretch / 2)
        run.kill_upstream()
        run.disturb(run.terms.stretch / 2)
    run.settle()


def _enough(run: Run, told: argparse.Namespace) -> bool:
    return bool(run.faults.total() >= told.faults and run.upstream.told["asked"] >= told.requests)


def _say(run: Run, rounds: int) -> None:
    sys.stdout.write(
        f"round {rounds}: {run.faults.total()} faults, {run.upstream.told['asked']} issue requests, settled\n"
    )
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    usual = Terms(seed=0)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--requests", type=int, default=200_000, help="issue requests, at least")
    parser.add_argument("--faults", type=int, default=500, help="at least")
    parser.add_argument("--minutes", type=float, default=23, help="no new round begins after so many")
    parser.add_argument("--rate", type=float, default=usual.rate, help="new requests a second")
    parser.add_argument("--pause", type=float, default=usual.pause, help="mean seconds between two faults")
    parser.add_argument("--stretch", type=float, default=usual.stretch, help="seconds of faults in one round")
    parser.add_argument("--workers", type=int, default=usual.workers)
    parser.add_argument("--report", type=Path, default=Path("build/chaos.json"), help="where the figures go")
    parser.add_argument("--keep", type=Path, help="folder for the journal and the logs")
    parser.add_argument("--page", type=Path, help="page with a place for the figures, as docs/reliability.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
