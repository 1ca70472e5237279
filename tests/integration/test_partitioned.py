"""Tables split by taxpayer: the worker's statements, its rules and the audit are those of the whole tables."""

# ruff: noqa: S608 -- the statements are constants of this file

import re
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.audit.judging import audit
from db.engine import constraint
from db.fence import is_another_database
from schemas.reasons import Reason
from schemas.topics import Topic
from tests.support.core.asked import invoice
from tests.support.core.world import TAXPAYER, Core, Told, of
from tests.support.event_ids import written_of_change
from tests.support.outside.identities import new_taxpayer_id
from tests.support.partitioned import split_by_taxpayer
from tests.support.postgres import PrivatePostgres

PARTITIONS = 8
TAXPAYERS = 50


@pytest.fixture(scope="module")
def core(postgres: PrivatePostgres) -> Iterator[Core]:
    """A worker's core over a database that issued to 50 taxpayers before it was split."""
    url = postgres.new_migrated_database()
    core = Core(url)
    for each in range(TAXPAYERS):
        core.register(f"ORG-{each}", new_taxpayer_id(), claim_quantity=400)
    assert issue(core, "before", 10) == {}
    assert len(numbers(claim_for_all(core))) == 10 * TAXPAYERS
    core.engine.dispose()
    split_by_taxpayer(url, PARTITIONS)
    yield core
    core.close()
    postgres.drop_database(url)


def issue(core: Core, series: str, times: int) -> dict[str, str]:
    """Ask so many times for each taxpayer, 500 in a transaction; gives the number of each request."""
    items = [
        invoice(f"{series}-{n}-{each}", organization=f"ORG-{each}") for n in range(times) for each in range(TAXPAYERS)
    ]
    told = [each for at in range(0, len(items), 500) for each in core.issue(*items[at : at + 500])]
    return numbers(told)


def claim_for_all(core: Core) -> list[Told]:
    """Claim for all stocks that ran out, and call, until none is left."""
    told: list[Told] = []
    while claimed := core.claim_and_call():
        told += claimed
    return told


def numbers(told: list[Told]) -> dict[str, str]:
    """Give the number of each request."""
    return {each.data["issue_request_id"]: each.data["invoice_number"] for each in of(Topic.NUMBER_ASSIGNED, told)}


def broken(core: Core) -> dict[str, int]:
    with core.engine.connect() as connection, connection.begin():
        findings = audit(connection, core.clock.now())
    assert any(finding.checked for finding in findings)
    return {finding.name: finding.broken for finding in findings if finding.broken}


def test_ten_thousand_requests_of_fifty_taxpayers(core: Core) -> None:
    again = issue(core, "before", 10)
    given = issue(core, "after", 200)

    assert len(again) == 10 * TAXPAYERS
    assert len(given) == 200 * TAXPAYERS
    assert len({*again.values(), *given.values()}) == 210 * TAXPAYERS
    assert core.value("SELECT count(*) FROM numbers WHERE taxpayer_id <> :late", late=TAXPAYER) == 210 * TAXPAYERS
    used = core.rows("SELECT tableoid::regclass::text, count(*) FROM numbers GROUP BY 1")
    assert len(used) > PARTITIONS // 2
    assert broken(core) == {}


def test_each_taxpayer_is_in_one_partition_of_each_table(core: Core) -> None:
    for table in ("stocks", "ranges", "issue_requests", "numbers"):
        spread = core.rows(f"SELECT taxpayer_id FROM {table} GROUP BY 1 HAVING count(DISTINCT tableoid) > 1")
        assert spread == []


def test_keys_checks_and_guards_still_refuse(core: Core) -> None:
    taxpayer = core.value("SELECT min(taxpayer_id) FROM numbers")
    same = "WHERE taxpayer_id = :taxpayer"
    for statement, name in (
        # One row of a request; a number once; a step that there is none of; a number that leaves.
        (f"INSERT INTO issue_requests SELECT * FROM issue_requests {same} LIMIT 1", "issue_requests"),
        (f"INSERT INTO numbers SELECT * FROM numbers {same} LIMIT 1", "numbers"),
        (f"UPDATE numbers SET status = 'expired', step = step + 1 {same}", "number_transition"),
        (f"DELETE FROM numbers {same}", "number_is_never_removed"),
        (f"UPDATE ranges SET next_sequence = last_sequence + 2 {same}", "ck_ranges_cursor"),
        # The servers before 18 name a partition's copy of the foreign key by its columns.
        (f"DELETE FROM stocks {same}", "_stock|_taxpayer_id_environment_channel_mode_year_fkey"),
    ):
        with pytest.raises(DBAPIError) as refused:
            core.change(statement, taxpayer=taxpayer)
        assert re.search(name, constraint(refused.value) or ""), statement


def test_a_change_that_nobody_is_told_of_is_refused_still(core: Core) -> None:
    taxpayer = core.value("SELECT min(taxpayer_id) FROM numbers WHERE status = 'assigned'")
    use_one = f"""
        UPDATE numbers SET status = 'used', step = step + 1, event_id = {written_of_change(step="step + 1")}
        WHERE taxpayer_id = :taxpayer
    """

    with pytest.raises(DBAPIError) as refused, core.engine.begin() as connection:
        connection.execute(text(use_one), {"taxpayer": taxpayer})

    assert constraint(refused.value) == "change_is_told"


def test_two_ranges_of_one_taxpayer_that_overlap_are_refused(core: Core) -> None:
    [(taxpayer, first)] = core.rows("SELECT taxpayer_id, first_sequence FROM ranges ORDER BY 1 LIMIT 1")

    with pytest.raises(DBAPIError) as refused:
        core.fill(10, taxpayer_id=taxpayer, first=first + 5)

    assert (constraint(refused.value) or "").startswith("ex_ranges_overlap_sandbox_p")


def test_two_ranges_of_two_taxpayers_that_overlap_are_found_by_the_audit(core: Core) -> None:
    partition, first = core.rows("SELECT tableoid::regclass::text, first_sequence FROM ranges ORDER BY 2 LIMIT 1")[0]
    apart = core.value(
        "SELECT min(taxpayer_id) FROM ranges WHERE tableoid::regclass::text <> :partition", partition=partition
    )

    core.fill(10, taxpayer_id=apart, first=first)

    assert broken(core)["no-two-ranges-overlap"] == 1
    # No claim brought it: to the other tests' audits it is one that a gateway listed.
    withheld = (
        "UPDATE ranges SET status = 'quarantined', listed_serial = 'by hand'"
        " WHERE taxpayer_id = :apart AND first_sequence = :first"
    )
    core.change(withheld, apart=apart, first=first)


def test_a_request_that_nobody_can_serve_waits_and_is_served(core: Core) -> None:
    core.register("LATE", TAXPAYER)

    assert of(Topic.NUMBER_ASSIGNED, core.issue(invoice("late", organization="LATE"))) == []
    assert numbers(claim_for_all(core)).keys() == {"late"}
    refused = of(Topic.NUMBER_REFUSED, core.issue(invoice("late", organization="LATE", kind="red")))
    assert [each.data["reason"] for each in refused] == [Reason.CONFLICTING_REQUEST.value]


def test_a_restored_database_is_still_refused_after_the_split(postgres: PrivatePostgres) -> None:
    url = postgres.new_migrated_database()
    core = Core(url)
    core.register()
    core.fill(10)
    core.change("UPDATE deployment SET identity = regexp_replace(identity, '/[0-9]+/', '/1/')")
    split_by_taxpayer(url, 2)

    with core.engine.connect() as connection:
        assert is_another_database(connection)
    core.close()
    postgres.drop_database(url)


def test_it_is_split_once(core: Core) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="split already"):
        split_by_taxpayer(core.url, PARTITIONS)
