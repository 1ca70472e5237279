"""What Fuma is made of: locked by hashes, under licences that are allowed, and audited or said not to be."""

import re
from pathlib import Path
from typing import Any

import pytest

from tools.audit_dependencies import conclude, read_verdict
from tools.licences import LOCK, PAGE, licence_of, locked, page

ROOT = Path(__file__).parents[2]
LOCKS = sorted(file.name for file in ROOT.glob("requirements*.lock"))


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_locked_with_its_hashes_and_from_no_named_place(name: str) -> None:
    lock = (ROOT / name).read_text(encoding="utf-8")
    packages = re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", lock, re.MULTILINE | re.DOTALL)
    assert len(packages) > 20
    for package in packages:
        assert re.match(r"[a-z0-9._-]+==[^ ]+ ", package), package[:80]
        assert "--hash=sha256:" in package, package[:80]
    assert "://" not in lock


def test_the_runtime_is_a_part_of_each_other_lock() -> None:
    runtime = dict(locked(LOCK.read_text(encoding="utf-8")))
    for name in LOCKS:
        other = dict(locked((ROOT / name).read_text(encoding="utf-8")))
        assert runtime.items() <= other.items(), name


def test_the_page_of_licences_is_that_of_the_lock_and_each_is_allowed() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it anew: make licences"


def test_a_package_without_a_licence_that_is_allowed_is_seen() -> None:
    assert licence_of("no-such-package") is None
    assert licence_of("pytest") == "MIT"


def dependency(name: str, **said: Any) -> dict[str, Any]:  # noqa: ANN401 - pip-audit's own
    return {"name": name, "version": "1.0", "vulns": [], **said}


def skipped(name: str) -> dict[str, Any]:
    return {"name": name, "skip_reason": "Dependency not found on PyPI and could not be audited"}


def test_packages_that_nobody_judged_are_not_audited() -> None:
    """What pip-audit itself calls "no known vulnerabilities"."""
    mirror = read_verdict({"dependencies": [skipped("a"), skipped("b")]})
    status, lines = conclude("x.lock", {"pypi": mirror, "osv": "no route"})
    assert status == 2
    assert "NOT AUDITED" in lines[-1]
    assert "osv could not be asked: no route" in lines[0]
    assert conclude("x.lock", {"pypi": "no route", "osv": "no route"})[0] == 2


def test_what_one_service_does_not_know_another_may() -> None:
    verdicts = {
        "pypi": read_verdict({"dependencies": [dependency("a"), skipped("b")]}),
        "osv": read_verdict({"dependencies": [dependency("a"), dependency("b")]}),
    }
    assert conclude("x.lock", {**verdicts}) == (0, ["x.lock: 2 packages judged, none has a known fault"])


def test_a_known_fault_is_named_with_what_corrects_it() -> None:
    fault = {"id": "PYSEC-1", "fix_versions": ["1.1"]}
    verdict = read_verdict({"dependencies": [dependency("a", vulns=[fault]), skipped("b")]})
    status, lines = conclude("x.lock", {"pypi": verdict})
    assert status == 1
    assert lines == ["x.lock: a 1.0: PYSEC-1, corrected in 1.1"]
