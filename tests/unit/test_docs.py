"""What the pages say agrees with the code: names, tables, commands, files, links."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from db.guards import TRANSITIONS
from db.roles import Roles
from schemas.organizations import OrganizationEntry
from schemas.reasons import DEAD_LETTER_REASONS, Reason
from schemas.topics import REQUESTS, Topic
from worker.broker.definitions import USERS
from worker.cli.definitions import password_variable
from worker.cli.entry import run
from worker.cli.roles import PASSWORD_VARIABLES
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "README.zh-CN.md")
PAGES = (*READMES, "CHANGELOG.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md"))))

_ROOMS = ("worker", "db", "schemas", "tests", "deploy", "examples", "docs", "bench")
_COMMAND_ROW = re.compile(r"^│ ([a-z][a-z-]+) {2,}", re.MULTILINE)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def table(page: str, name: str) -> list[list[str]]:
    """Give the rows of the table behind the mark of this name, a list of cells each."""
    _, _, behind = text_of(page).partition(f"<!-- table: {name} -->\n\n")
    lines = behind.split("\n\n")[0].splitlines()
    assert len(lines) > 2, f"{page} has no table {name}"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names(page: str, name: str) -> list[str]:
    """Give what stands in a table's first column."""
    return [row[0].strip("`") for row in table(page, name)]


def code_blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)


def prose(page: str) -> str:
    """Give a page without its code blocks."""
    return re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)


def command_lines(page: str) -> Iterator[list[str]]:
    """Give every call of `fuma` in a page's shell blocks, in words."""
    for block in code_blocks(page, "sh"):
        for line in block.splitlines():
            if line.startswith("fuma "):
                yield [word for word in shlex.split(line, comments=True)[1:] if word != "&"]


@pytest.mark.parametrize("page", READMES)
def test_the_settings_are_those_of_the_code(page: str) -> None:
    assert names(page, "settings") == [f"FUMA_{field.upper()}" for field in Settings.model_fields]


@pytest.mark.parametrize("page", READMES)
def test_numbers_among_the_defaults_are_those_of_the_code(page: str) -> None:
    said = {row[0].strip("`"): row[2].strip("`") for row in table(page, "settings")}
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, bool | int | float):
            assert said[f"FUMA_{name.upper()}"] == str(field.default).lower()


@pytest.mark.parametrize("page", READMES)
def test_the_fields_of_an_organisation_are_those_of_the_code(page: str) -> None:
    assert names(page, "organization fields") == list(OrganizationEntry.model_fields)
    said = {row[0].strip("`"): row[2].strip("`") for row in table(page, "organization fields")}
    for name, field in OrganizationEntry.model_fields.items():
        assert said[name] == ("" if field.is_required() else str(field.default).lower())


@pytest.mark.parametrize("page", READMES)
def test_the_commands_are_those_of_the_command_line(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    listed = _COMMAND_ROW.findall(capsys.readouterr().out)
    assert names(page, "commands") == listed


@pytest.mark.parametrize("page", READMES)
def test_every_reason_is_explained_or_set_aside(page: str) -> None:
    rows = table(page, "reasons")
    explained = [row[0].strip("`") for row in rows]
    _, _, behind = text_of(page).partition("<!-- table: reasons -->\n\n")
    set_aside = re.findall(r"`([a-z-]+)`", behind.split("\n\n")[1])
    assert sorted([*explained, *set_aside]) == sorted(reason.value for reason in Reason)
    # A dead letter's reason is no event's.
    letters = {row[0].strip("`") for row in rows if "`" not in row[1]}
    assert letters == {reason.value for reason in DEAD_LETTER_REASONS}


@pytest.mark.parametrize("page", PAGES)
def test_every_command_line_can_be_called(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    # --help is read last: an unknown command or option is an error before it.
    for words in command_lines(page):
        assert run([*words, "--help"]) == 0, f"{page}: fuma {shlex.join(words)}: {capsys.readouterr().err}"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_sentence_names_exists(page: str) -> None:
    known = set(names("README.md", "commands"))
    named = set(re.findall(r"`fuma ([a-z-]+)", prose(page)))
    assert named <= known


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_exists(page: str) -> None:
    named = set(re.findall(rf"(?<![\w./-])((?:{'|'.join(_ROOMS)})/[\w./-]*)", text_of(page)))
    assert [name for name in sorted(named) if not (ROOT / name.rstrip(".")).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_is_named_exists(page: str) -> None:
    known = {f"FUMA_{field.upper()}" for field in Settings.model_fields}
    passwords = {*PASSWORD_VARIABLES, *(password_variable(user.name) for user in USERS)}
    known |= passwords | {f"{variable}_FILE" for variable in passwords}
    assert set(re.findall(r"FUMA_[A-Z_]+", text_of(page))) <= known


@pytest.mark.parametrize("page", PAGES)
def test_every_link_within_the_repository_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        link = urlsplit(target)
        if link.scheme:
            continue
        file = (ROOT / page).parent / link.path if link.path else ROOT / page
        assert file.is_file(), f"{page}: {target}"
        if link.fragment:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert link.fragment in {heading.lower().replace(" ", "-") for heading in headings}, f"{page}: {target}"


def test_every_event_of_the_log_that_is_explained_is_written_somewhere() -> None:
    _, _, behind = text_of("docs/operating.md").partition("## Logs\n")
    explained = {
        name
        for line in behind.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([a-z_-]+)`", line.split("|")[1])
    }
    sources = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "worker").rglob("*.py"))
    assert explained
    assert [name for name in sorted(explained) if f'"{name}"' not in sources] == []


def test_every_metric_that_is_explained_exists() -> None:
    explained = set(re.findall(r"`(fuma_[a-z_]+)\{?", text_of("docs/operating.md")))
    declared = set(re.findall(r'"(fuma_[a-z_]+)"', text_of("worker/metrics.py")))
    explained -= set(Roles("fuma").all)
    assert {name.removesuffix("_total") for name in explained} == declared


def test_each_letter_of_the_states_is_one_transition() -> None:
    letters = re.findall(r"^\| ([A-Za-z]) \|", text_of("docs/states.md"), re.MULTILINE)
    assert letters == sorted(set(letters))
    drawings = "".join(re.findall(r"^```\n(.*?)^```", text_of("docs/states.md"), re.MULTILINE | re.DOTALL))
    assert set(re.findall(r"\(([A-Za-z])\)?", drawings)) == set(letters)


def test_the_transitions_of_a_number_are_those_that_the_database_allows() -> None:
    _, _, behind = text_of("docs/states.md").partition("## A number\n")
    section = behind.partition("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if re.match(r"\| [A-Z] \|", line)]
    steps = [re.fullmatch(r"(?:`([a-z]+)` )?→ `([a-z]+)`", row[1]) for row in rows]
    told = [step.groups() for step in steps if step is not None]
    assert len(told) == len(rows)
    assert sorted(step for step in told if step[0] is not None) == sorted(TRANSITIONS)
    assert sorted(state for before, state in told if before is None) == ["assigned", "available"]
    # Each names the message or the transition that moves it.
    requests = {f"`{topic}`" for topic in REQUESTS}
    assert all(any(name in row[2] for name in requests) or re.search(r"\([A-Za-z]\)", row[2]) for row in rows)
    known = {topic.value for topic in Topic}
    assert set(re.findall(r"`((?:number|range|claim|outcome)-[a-z-]+)`", section)) <= known


@pytest.mark.parametrize("page", READMES)
def test_the_states_of_a_number_are_named_in_both_languages(page: str) -> None:
    (row,) = re.findall(r"^\| (?:a number|号码) \| (.*) \|$", text_of(page), re.MULTILINE)
    assert set(re.findall(r"`([a-z]+)`", row)) == {state for step in TRANSITIONS for state in step}


@pytest.mark.parametrize("page", READMES)
def test_the_program_that_is_shown_is_the_one_that_is_tested(page: str) -> None:
    (shown,) = code_blocks(page, "python")
    assert shown in text_of("examples/ask_for_a_number.py")


@pytest.mark.parametrize("page", READMES)
def test_both_languages_show_the_same_commands(page: str) -> None:
    assert list(command_lines(page)) == list(command_lines("README.md"))
    assert len(list(command_lines(page))) > 5


@pytest.mark.parametrize("page", PAGES)
def test_a_line_is_a_sentence(page: str) -> None:
    """One sentence a line, so that a change shows what it changes."""
    for line in re.sub(r"^ *\d+\. ", "", prose(page), flags=re.MULTILINE).splitlines():
        if not line.startswith(("|", "#", "- ", "[")):
            assert re.search(r"[.!?] [A-Z]|。.", line) is None, f"{page}: {line}"
