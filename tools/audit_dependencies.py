"""Ask the advisory services for known faults of every locked package, and say so where nobody answered.

pip-audit alone calls it "no known vulnerabilities" where its service knows none of the packages, as behind a mirror
without advisories. Here a package that nobody judged counts as not audited.

Exit status: 0 every package was judged and none has a known fault, 1 some have, 2 not all could be judged.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: PyPI's own advisories, and the Open Source Vulnerabilities database.
SERVICES = ("pypi", "osv")
_SECONDS = 300
_CLEAN, _FAULTY, _UNKNOWN = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one service said of one lock."""

    judged: frozenset[str]
    skipped: frozenset[str]
    #: One line for each known fault.
    faults: tuple[str, ...]


def read_verdict(report: dict[str, Any]) -> Verdict:
    """Read pip-audit's JSON."""
    judged, skipped, faults = set(), set(), []
    for dependency in report["dependencies"]:
        if "skip_reason" in dependency:
            skipped.add(dependency["name"])
            continue
        judged.add(dependency["name"])
        for fault in dependency["vulns"]:
            fixed = ", ".join(fault["fix_versions"]) or "no version yet"
            faults.append(f"{dependency['name']} {dependency['version']}: {fault['id']}, corrected in {fixed}")
    return Verdict(frozenset(judged), frozenset(skipped), tuple(faults))


def conclude(lock: str, verdicts: dict[str, Verdict | str]) -> tuple[int, list[str]]:
    """Give exit status and lines for a lock, from what each service said; a text where it could not be asked."""
    lines: list[str] = []
    judged: set[str] = set()
    everything: set[str] = set()
    faults: list[str] = []
    for service, verdict in verdicts.items():
        if isinstance(verdict, str):
            lines.append(f"{lock}: {service} could not be asked: {verdict}")
            continue
        judged |= verdict.judged
        everything |= verdict.judged | verdict.skipped
        faults += [fault for fault in verdict.faults if fault not in faults]
    lines += [f"{lock}: {fault}" for fault in faults]
    left = everything - judged
    if faults:
        status = _FAULTY
    elif left or not judged:
        status = _UNKNOWN
        lines.append(
            f"{lock}: NOT AUDITED: nobody judged {len(left) or 'any'} of its packages; ask where PyPI is reached"
        )
    else:
        status = _CLEAN
        lines.append(f"{lock}: {len(judged)} packages judged, none has a known fault")
    return status, lines


def ask(service: str, lock: Path) -> Verdict | str:
    """Let pip-audit ask a service; gives why not where it can't."""
    words = [sys.executable, "-m", "pip_audit", "--vulnerability-service", service, "--disable-pip"]
    words += ["--require-hashes", "--requirement", str(lock), "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"no answer within {_SECONDS} s"
    try:
        return read_verdict(json.loads(done.stdout))
    except ValueError:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        return last[0][:200]


def main(locks: list[str]) -> int:
    """Audit each lock, print what was found, and give the worst exit status."""
    worst = _CLEAN
    for lock in locks:
        status, lines = conclude(lock, {service: ask(service, Path(lock)) for service in SERVICES})
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        worst = _FAULTY if _FAULTY in {status, worst} else max(status, worst)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
