"""The image holds what the worker needs and nothing of the tools, and runs as an ordinary user."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def pins(file: str) -> dict[str, str]:
    """Give what a lock file says of each package: version, marker and hashes, in one text."""
    text = (ROOT / file).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = (" ".join(line.split()) for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {line.partition("==")[0]: line.partition("==")[2] for line in lines if line}


def without_marker(pin: str) -> str:
    """Give version and hashes: a package that only some platforms need may be needed by all for the tools."""
    return re.sub(r" ;.*?(?= --hash)", "", pin)


def test_the_image_installs_the_same_packages_as_are_tested_and_none_of_the_tools() -> None:
    runtime, everything = pins("requirements-runtime.lock"), pins("requirements.lock")
    assert {name: without_marker(pin) for name, pin in runtime.items()} == {
        name: without_marker(everything[name]) for name in runtime
    }
    assert all("--hash=sha256:" in pin for pin in runtime.values())
    assert {"pika", "psycopg", "sqlalchemy"} <= runtime.keys()
    assert runtime.keys().isdisjoint({"pytest", "mypy", "ruff", "hatchling", "hypothesis"})


def test_every_base_has_a_version_and_no_host() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", bases[0])


def test_it_runs_as_an_ordinary_user_with_a_fixed_number() -> None:
    users = re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE)
    assert users == ["10001:10001"]
    assert DOCKERFILE.index("USER 10001") < DOCKERFILE.index("ENTRYPOINT")


def test_it_starts_fuma() -> None:
    assert 'ENTRYPOINT ["fuma"]' in DOCKERFILE


def test_what_is_copied_exists_and_is_all_that_the_build_may_see() -> None:
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert all((ROOT / source).exists() for source in copied)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == copied
