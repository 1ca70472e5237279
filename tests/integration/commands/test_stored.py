"""Commands against a real database: what they print, leave behind, and exit with."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select, text

from db.tables import issue_requests, outbox
from schemas.cloudevents import CloudEvent, read_message
from tests.support.commands import FUMA, Fuma, objects
from tests.support.ledger import NOW, OTHER_TAXPAYER, TAXPAYER, Ledger
from tests.support.postgres import PrivatePostgres
from worker.cli.entry import run

ORGANIZATIONS = f"""
- {{code: A, name: 甲公司, taxpayer_id: {TAXPAYER}, channel_mode: self-use, using_unit_id: U1}}
- {{code: B, name: Second, taxpayer_id: {OTHER_TAXPAYER}, channel_mode: joint, using_unit_id: U2, claim_quantity: 50}}
"""


def test_migrate_may_run_twice_at_once(
    empty_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FUMA_DATABASE_URL", empty_database_url)
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda _: subprocess.run([*FUMA, "migrate"], capture_output=True, check=False), range(2)))
    assert [(each.returncode, each.stderr) for each in ended] == [(0, b""), (0, b"")]
    assert run(["audit"]) == 0


def test_a_database_without_a_schema_is_said(
    empty_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    fuma: Fuma,
) -> None:
    monkeypatch.setenv("FUMA_DATABASE_URL", empty_database_url)
    for command in (["ranges"], ["audit"], ["organizations", "list"], ["waiting", "cancel", "R1", "--reason", "x"]):
        assert "fuma migrate" in fuma(*command, status=1)


def test_the_other_environments_database_is_refused(
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    fuma: Fuma,
) -> None:
    assert urlsplit(database).path
    monkeypatch.setenv("FUMA_ENVIRONMENT", "production")
    for command in ("migrate", "ranges", "audit"):
        assert "serves the environment sandbox" in fuma(command, status=1)


def test_wrong_credentials_and_databases_are_said_without_showing_them(
    postgres: PrivatePostgres,
    monkeypatch: pytest.MonkeyPatch,
    fuma: Fuma,
) -> None:
    monkeypatch.setenv("FUMA_DATABASE_URL", postgres.url_of("missing"))
    assert "no such database" in fuma("ranges", status=1)
    monkeypatch.setenv("FUMA_DATABASE_URL", f"postgresql://fuma:hunter2@127.0.0.1:{postgres.port}/postgres")
    said = fuma("ranges", status=1)
    assert "refuses the login" in said
    assert "hunter2" not in said


@pytest.mark.usefixtures("database")
def test_organizations_are_imported_and_listed(tmp_path: Path, fuma: Fuma) -> None:
    file = tmp_path / "organizations.yaml"
    file.write_text(ORGANIZATIONS, encoding="utf-8")
    assert fuma("organizations", "import", str(file)) == "2 created, 0 replaced, 0 unchanged\n"
    assert fuma("organizations", "import", str(file)) == "0 created, 0 replaced, 2 unchanged\n"
    listed = objects(fuma("organizations", "list", "--json"))
    assert [(row["code"], row["name"], row["claim_quantity"], row["low_threshold"]) for row in listed] == [
        ("A", "甲公司", 1000, 0.2),
        ("B", "Second", 50, 0.2),
    ]
    assert "甲公司" in fuma("organizations", "list")


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("o.yaml", b"- {code: A}", "entry 1"),
        ("o.yaml", b"{", "YAML"),
        ("o.json", b"[", "JSON"),
        ("o.txt", b"[]", ".yaml"),
        ("o.yaml", b"\xff\xfe\x00", "UTF-8"),
        ("o.yaml", ORGANIZATIONS.replace(OTHER_TAXPAYER, TAXPAYER).replace("joint", "self-use").encode(), "A and B"),
    ],
)
def test_a_bad_organizations_file_is_one_line(name: str, content: bytes, said: str, tmp_path: Path, fuma: Fuma) -> None:
    (tmp_path / name).write_bytes(content)
    complaint = fuma("organizations", "import", str(tmp_path / name), status=1)
    assert said in complaint
    assert complaint.count("\n") == 1
    assert objects(fuma("organizations", "list", "--json")) == []


@pytest.mark.usefixtures("stored")
def test_listings_are_one_array_with_the_contracts_forms(fuma: Fuma) -> None:
    (first,) = objects(fuma("ranges", "--json"))
    assert first["first_number"] == "26447000000000000100"
    assert first["created_at"] == "2026-06-15T15:59:59.000000Z"
    assert (first["claimed"], first["remaining"]) == (100, 99)
    (number,) = objects(fuma("numbers", "--json", "--range", str(first["range_id"])))
    assert (number["invoice_number"], number["issue_date"]) == ("26447000000000000100", "2026-06-15")
    assert [row["claim_id"] for row in objects(fuma("claims", "--json"))] == ["automatic-1"]
    assert [row["issue_request_id"] for row in objects(fuma("waiting", "--json"))] == ["W1"]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--created-from", "2026-06-15"], 1),
        (["--created-from", "2026-06-16"], 0),
        (["--created-to", "2026-06-15"], 1),
        (["--created-to", "2026-06-14"], 0),
        (["--created-from", "2026-06-15", "--created-to", "2026-06-15", "--organization", "A"], 1),
        (["--year", "2025"], 0),
        (["--taxpayer", OTHER_TAXPAYER], 0),
        (["--status", "active", "--claim-mode", "automatic", "--limit", "1"], 1),
        (["--claim-mode", "manual"], 0),
    ],
)
def test_days_are_chinas_and_both_ends_belong_to_them(options: list[str], count: int, fuma: Fuma) -> None:
    assert len(objects(fuma("ranges", "--json", *options))) == count


@pytest.mark.usefixtures("stored")
def test_a_number_is_found(fuma: Fuma) -> None:
    assert len(objects(fuma("numbers", "--json", "--number", "26447000000000000100"))) == 1
    assert objects(fuma("numbers", "--json", "--number", "26447000000000000101")) == []


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("command", ["ranges", "claims", "numbers", "waiting"])
def test_an_organization_that_nobody_knows_is_said(command: str, fuma: Fuma) -> None:
    assert "'X'" in fuma(command, "--organization", "X", status=1)
    assert "'X'" in fuma(command, "--organization", "X", "--json", status=1)


def test_programs_get_every_row_and_people_are_told_of_more(stored: Ledger, fuma: Fuma) -> None:
    for place in range(250):
        stored.request(f"W{place + 2}", "A", status="waiting")
    stored.connection.commit()
    assert len(objects(fuma("waiting", "--json"))) == 251
    assert len(objects(fuma("waiting", "--json", "--limit", "3"))) == 3
    table = fuma("waiting")
    assert "W200" in table
    assert "W201" not in table
    assert "there are more" in table


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_reader_that_goes_away_ends_the_command_quietly(options: list[str]) -> None:
    with subprocess.Popen([*FUMA, "ranges", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert command.stderr.read() == b""


def test_a_waiting_request_is_cancelled_and_its_answer_written(stored: Ledger, fuma: Fuma) -> None:
    assert "W1" in fuma("waiting", "cancel", "W1", "--reason", "ordered twice")
    assert "no request 'W1' waits" in fuma("waiting", "cancel", "W1", "--reason", "again", status=1)
    assert "no request 'R1' waits" in fuma("waiting", "cancel", "R1", "--reason", "has a number", status=1)
    status = select(issue_requests.c.status).where(issue_requests.c.issue_request_id == "W1")
    assert stored.connection.execute(status).scalar_one() == "closed"
    (body,) = stored.connection.execute(select(outbox.c.body)).scalars()
    (event,) = read_message(body, "application/cloudevents+json", None, {}).items
    assert isinstance(event, CloudEvent)
    assert isinstance(event.data, dict)
    assert event.type == "fuma.number-refused.v1"
    assert (event.data["reason"], event.data["detail"]) == ("cancelled", "ordered twice")


def test_two_taxpayers_requests_of_one_id_are_told_apart(stored: Ledger, fuma: Fuma) -> None:
    stored.channel(OTHER_TAXPAYER)
    stored.organization("B", OTHER_TAXPAYER)
    stored.request("W1", "B", status="waiting", taxpayer_id=OTHER_TAXPAYER)
    stored.connection.commit()
    said = fuma("waiting", "cancel", "W1", "--reason", "x", status=1)
    assert TAXPAYER in said
    assert OTHER_TAXPAYER in said
    fuma("waiting", "cancel", "W1", "--reason", "x", "--taxpayer", OTHER_TAXPAYER)
    left = select(issue_requests.c.taxpayer_id).where(issue_requests.c.status == "waiting")
    assert stored.connection.execute(left).scalars().all() == [TAXPAYER]


def test_a_foreign_range_is_released_once(stored: Ledger, fuma: Fuma) -> None:
    foreign = stored.range(900, status="foreign", listed_serial="theirs", listed_unused=100)
    stored.connection.commit()
    fuma("ranges", "release", str(foreign), "--reason", "claimed by us before the restore")
    listed = {row["range_id"]: row["status"] for row in objects(fuma("ranges", "--json"))}
    assert listed[str(foreign)] == "active"
    assert "only a foreign range" in fuma("ranges", "release", str(foreign), "--reason", "again", status=1)


@pytest.mark.usefixtures("database")
def test_the_audit_says_where_nothing_was_there_to_check(fuma: Fuma) -> None:
    results = {row["invariant"]: row["result"] for row in objects(fuma("audit", "--json"))}
    assert results.pop("guards-stand") == "holds"
    assert set(results.values()) == {"no rows"}
    assert "no rows" in fuma("audit")


def test_the_audit_fails_and_names_offenders(stored: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    broken = text(
        "UPDATE issue_requests SET status = 'closed', closed_because = 'cancelled' WHERE issue_request_id = 'R1'",
    )
    stored.connection.execute(broken)
    stored.connection.commit()
    capsys.readouterr()
    assert run(["audit"]) == 1
    shown = capsys.readouterr()
    assert f"assigned-request-has-its-number: {TAXPAYER} R1" in shown.out
    assert shown.err == ""
    assert run(["audit", "--json"]) == 1
    found = {row["invariant"]: row for row in objects(capsys.readouterr().out)}
    assert found["assigned-request-has-its-number"]["offenders"] == [f"{TAXPAYER} R1"]
    assert found["number-once"]["broken"] == 0


@pytest.mark.usefixtures("stored")
def test_the_audits_clock_is_the_settings(monkeypatch: pytest.MonkeyPatch, fuma: Fuma) -> None:
    monkeypatch.setenv("FUMA_CLOCK", (NOW + timedelta(days=1)).isoformat())
    fuma("audit")
    monkeypatch.setenv("FUMA_CLOCK", (NOW + timedelta(days=400)).isoformat())
    late = {row["invariant"] for row in objects(fuma("audit", "--json", status=1)) if row["broken"]}
    assert "overdue-outcome-was-told-of" in late


@pytest.fixture
def lived(stored: Ledger) -> Ledger:
    """Two manual numbers more, one of them bound; the assigned one is used."""
    stored.claim("manual-1", claim_mode="manual", organization="A", quantity=2)
    manual = stored.range(500, taken=2, quantity=2, claim_id="manual-1", claim_mode="manual", organization="A")
    stored.number(manual, 500, 500, quantity=2)
    stored.number(manual, 500, 501, quantity=2)
    stored.bind(500, "R9")
    stored.use(100, "R1")
    stored.connection.commit()
    return stored


@pytest.mark.usefixtures("lived")
def test_the_history_of_a_number_tells_where_it_went(fuma: Fuma) -> None:
    changes = objects(fuma("numbers", "--json", "--history", "26447000000000000100"))

    assert [list(change) for change in changes] == [
        ["invoice_number", "at", "from", "to", "message", "requested_by", "issue_request_id", "event_id"],
    ] * 2
    assert [(change["from"], change["to"], change["issue_request_id"]) for change in changes] == [
        (None, "assigned", "R1"),
        ("assigned", "used", "R1"),
    ]
    assert {change["invoice_number"] for change in changes} == {"26447000000000000100"}
    bound = objects(fuma("numbers", "--json", "--history", "26447000000000000500"))
    assert [(change["from"], change["to"], change["issue_request_id"]) for change in bound] == [
        (None, "available", None),
        ("available", "bound", "R9"),
    ]


@pytest.mark.usefixtures("lived")
def test_the_history_of_a_number_is_a_table_for_people(fuma: Fuma) -> None:
    shown = fuma("numbers", "--history", "26447000000000000100")

    assert "assigned" in shown
    assert "used" in shown
    assert "/tests 1" in shown


@pytest.mark.usefixtures("lived")
def test_a_number_that_nobody_touched_has_no_history(fuma: Fuma) -> None:
    assert objects(fuma("numbers", "--json", "--history", "26447000000000000150")) == []

    told = fuma("numbers", "--history", "26447000000000000150")

    assert "no changes" in told
    assert "26447000000000000150 lies in the automatic range" in told
    nobodys = "26447000000000099999"
    assert f"{nobodys} lies in no range" in fuma("numbers", "--history", nobodys)


@pytest.mark.usefixtures("lived")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--history", "5"), "number"),
        (("--history", "26447000000000000100", "--status", "used"), "--history"),
        (("--history", "26447000000000000100", "--year", "2026"), "--history"),
    ],
)
def test_a_history_that_can_not_be_meant_is_refused(fuma: Fuma, words: tuple[str, ...], said: str) -> None:
    assert said in fuma("numbers", *words, status=1)


@pytest.mark.usefixtures("lived")
@pytest.mark.parametrize(("status", "count"), [("available", 1), ("bound", 1), ("used", 1), ("held", 0), ("voided", 0)])
def test_numbers_are_listed_by_every_state(fuma: Fuma, status: str, count: int) -> None:
    assert [row["status"] for row in objects(fuma("numbers", "--json", "--status", status))] == [status] * count
