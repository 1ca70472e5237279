"""Run the decisions' own tests over every mutant: `run_mutants.py MUTANTS`, the output of `make_mutants.py`.

A mutant is killed if a test fails or doesn't end; one that no test notices has survived.
Prints the score of each module and every survivor that docs/mutation.md doesn't explain.
Exit status 1 where the score is below `LEAST_SCORE`, or a survivor is unexplained.

A process that has loaded pytest and Hypothesis forks for each mutant, which costs a tenth of starting anew.
"""

import gc
import importlib.abc
import importlib.util
import json
import os
import re
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import hypothesis
import pydantic  # noqa: F401 -- loaded once, for every fork
import pytest
import sqlalchemy  # noqa: F401 -- the same
from rich.console import Console

ROOT = Path(__file__).parents[2]
#: What explains survivors: rows of a table, `module`, `was`, `becomes`, why.
EXPLANATIONS = ROOT / "docs" / "mutation.md"

#: The share of mutants that must be killed.
LEAST_SCORE = 0.85

#: Which tests judge each module's mutants.
TESTS = {
    "schemas/invoice_number.py": ["tests/unit/schemas/test_schemas_invoice_number.py"],
    "schemas/taxpayer_id.py": ["tests/unit/schemas/test_schemas_taxpayer_id.py"],
    "worker/decisions/assignment.py": [
        "tests/unit/decisions/test_assignment_by_hand.py",
        "tests/unit/decisions/test_assignment.py",
    ],
    "worker/decisions/binding.py": ["tests/unit/decisions/test_binding_decisions.py"],
    "worker/decisions/claims.py": [
        "tests/unit/decisions/test_claim_decisions.py",
        "tests/unit/decisions/test_claim_sizes.py",
    ],
    "worker/decisions/forecast.py": ["tests/unit/decisions/test_claim_sizes.py"],
    "worker/decisions/grants.py": ["tests/unit/decisions/test_grant_checks.py"],
    "worker/decisions/outcomes.py": ["tests/unit/decisions/test_outcomes_decisions.py"],
    "worker/decisions/shelf.py": ["tests/unit/decisions/test_shelf.py", "tests/unit/decisions/test_assignment.py"],
}

_AT_ONCE = os.cpu_count() or 1
#: Examples of each property; fewer than `make test` has, so that the whole stays within minutes.
_EXAMPLES = 40
#: Seconds after which a mutant that never ends counts as killed; the slowest sound run takes some five.
_PATIENCE = 90.0
#: What a fork ends with if the mutant was never imported: its tests would have judged the sound module.
_NEVER_LOADED = 77
#: What stands for the status of a fork that had to be ended, or whose mutant ended it with a signal.
_NEVER_ENDED = 78
_KILLED = (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED, _NEVER_ENDED)


class Mutant(NamedTuple):
    """One changed module."""

    module: str
    operator: str
    line: int
    was: str
    becomes: str
    code: str

    @property
    def name(self) -> tuple[str, str, str]:
        """What an explanation names: wherever in the module it stands."""
        return self.module, self.was, self.becomes

    @property
    def row(self) -> str:
        """The row that would explain it, but for the reason."""
        cells = [f"`{cell}`".replace("|", r"\|") for cell in self.name]
        return f"| {' | '.join(cells)} | ? |"


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module from a mutant's source instead of its file."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = mutant.module.removesuffix(".py").replace("/", ".")
        self._code = compile(mutant.code, str(ROOT / mutant.module), "exec")
        self.loaded = False

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        self.loaded = True
        exec(self._code, module.__dict__)  # noqa: S102 -- a mutant is source text


def _judge(mutant: Mutant) -> int:
    """Run the tests in this process; gives its exit status."""
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(silence, stream)
    try:
        finder = _Mutated(mutant)
    except SyntaxError:
        return int(pytest.ExitCode.INTERRUPTED)
    sys.meta_path.insert(0, finder)
    arguments = ["--noconftest", "--assert=plain", "-xq", "--tb=no", "-pno:cacheprovider", "-ppytest_timeout"]
    status = pytest.main([*arguments, "--override-ini=addopts=--import-mode=importlib", *TESTS[mutant.module]])
    return int(status) if finder.loaded else _NEVER_LOADED


@dataclass(slots=True)
class _Running:
    mutant: Mutant
    process: int
    handle: int
    ends_by: float


def _start(mutant: Mutant) -> _Running:
    process = os.fork()
    if process == 0:
        status = _NEVER_LOADED
        try:
            status = _judge(mutant)
        finally:
            os._exit(status)
    return _Running(mutant, process, os.pidfd_open(process), time.monotonic() + _PATIENCE)


def _run(mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, int]]:
    """Give each mutant with the exit status of its tests, in the order in which they end."""
    waiting = list(reversed(mutants))
    running: list[_Running] = []
    while waiting or running:
        while waiting and len(running) < _AT_ONCE:
            running.append(_start(waiting.pop()))
        ready, _, _ = select.select([each.handle for each in running], [], [], 1.0)
        for each in list(running):
            if each.handle not in ready and time.monotonic() < each.ends_by:
                continue
            if each.handle not in ready:
                signal.pidfd_send_signal(each.handle, signal.SIGKILL)
            _, status = os.waitpid(each.process, 0)
            os.close(each.handle)
            running.remove(each)
            yield each.mutant, _NEVER_ENDED if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


def _explained() -> set[tuple[str, str, str]]:
    rows = re.findall(
        r"^\| `(.+?)` \| `(.+?)` \| `(.*?)` \| .+ \|$", EXPLANATIONS.read_text(encoding="utf-8"), re.MULTILINE
    )
    return {(module, was.replace("\\|", "|"), becomes.replace("\\|", "|")) for module, was, becomes in rows}


def _require_sound_tests(console: Console) -> None:
    """End the program where the tests fail without any mutant, or judge another file than the mutant's."""
    sound = [Mutant(module, "none", 0, "", "", (ROOT / module).read_text(encoding="utf-8")) for module in TESTS]
    for mutant, status in _run(sound):
        if status != pytest.ExitCode.OK:
            console.print(f"{mutant.module}: its tests end with status {status} before anything is changed")
            raise SystemExit(2)


def main(path: Path) -> int:
    """Judge every mutant of the file; gives the exit status."""
    console = Console(soft_wrap=True, markup=False, highlight=False)
    mutants = [Mutant(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    if {mutant.module for mutant in mutants} != set(TESTS):
        console.print("the mutants are not those of the modules whose tests are known")
        return 2
    # The same examples for every mutant, and no time spent on the smallest one that fails.
    profile = hypothesis.settings(
        derandomize=True,
        deadline=None,
        database=None,
        max_examples=_EXAMPLES,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.register_profile("mutation", profile)
    hypothesis.settings.load_profile("mutation")
    _require_sound_tests(console)
    explained = _explained()
    made = Counter(mutant.module for mutant in mutants)
    killed: Counter[str] = Counter()
    survivors: list[Mutant] = []
    endless: list[Mutant] = []
    for done, (mutant, status) in enumerate(_run(mutants), start=1):
        if status in _KILLED:
            killed[mutant.module] += 1
            if status == _NEVER_ENDED:
                endless.append(mutant)
        elif status == pytest.ExitCode.OK:
            survivors.append(mutant)
            if mutant.name not in explained:
                console.print(f"survived, unexplained: {mutant.module}:{mutant.line} {mutant.operator}")
                console.print(mutant.row)
        else:
            console.print(f"{mutant.module}:{mutant.line}: the tests could not be run (status {status})")
            return 2
        if console.is_terminal or done % 100 == 0:
            console.print(f"{done} of {len(mutants)}", end="\r" if console.is_terminal else "\n")
    for mutant in sorted(endless):
        console.print(f"killed, for it did not end: {mutant.module}:{mutant.line} {mutant.operator}: {mutant.becomes}")
    return _report(console, made, killed, survivors)


def _report(console: Console, made: Counter[str], killed: Counter[str], survivors: list[Mutant]) -> int:
    explained = _explained()
    for module in sorted(made):
        console.print(f"{module:35} {killed[module]:4} of {made[module]:4} killed {killed[module] / made[module]:7.1%}")
    score = killed.total() / made.total()
    unexplained = sum(mutant.name not in explained for mutant in survivors)
    for module, was, becomes in sorted(explained - {mutant.name for mutant in survivors}):
        console.print(f"explained, but killed or gone: {module}: {was} -> {becomes}")
    console.print(
        f"score {score:.1%} (at least {LEAST_SCORE:.0%}), {len(survivors)} survived, {unexplained} unexplained"
    )
    return 0 if score >= LEAST_SCORE and not unexplained else 1


if __name__ == "__main__":
    os.chdir(ROOT)
    # The decisions' tests need no plugin but Hypothesis itself; each costs every fork its start.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    gc.freeze()
    sys.path.insert(0, str(ROOT))
    raise SystemExit(main(Path(sys.argv[1])))
