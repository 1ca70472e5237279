"""The commands that do something: migrate, import, emit, watch, audit, and what they refuse."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.outside.identities import Organization, china_today, organization
from tests.support.outside.polling import eventually
from tests.support.outside.processes import Finished, Fuma
from tests.support.outside.shop import Shop
from tests.support.outside.world import World
from tests.support.postgres import PrivatePostgres


def imported(shop: Shop, path: Path, entries: object) -> Finished:
    """Import a file with these entries."""
    path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return shop.world.fuma.run("organizations", "import", str(path))


def entries_of(*orgs: Organization) -> Sequence[dict[str, object]]:
    return [org.entry() for org in orgs]


def test_migrate_is_safe_for_two_at_once_and_again(shop: Shop, postgres: PrivatePostgres) -> None:
    fresh = postgres.new_database()
    both = [shop.world.fuma.start("migrate", FUMA_DATABASE_URL=fresh) for _ in range(2)]
    for running in both:
        done = running.finished(within=60)
        assert done.code == 0, done.err
    shop.world.fuma.ok("migrate", FUMA_DATABASE_URL=fresh)
    assert shop.world.fuma.rows("ranges", FUMA_DATABASE_URL=fresh) == []


def test_the_embedded_database_is_shared_and_survives_a_kill(tmp_path: Path) -> None:
    """Without any setting: two commands at once, one killed, and the next one works."""
    fuma = Fuma(tmp_path)
    both = [fuma.start("migrate") for _ in range(2)]
    for running in both:
        done = running.finished(within=90)
        assert done.code == 0, done.err
    killed = fuma.start("ranges", "--json")
    eventually(lambda: killed.code is not None or (tmp_path / "home" / "postgres").exists(), within=20, what="a start")
    killed.kill()
    assert fuma.rows("ranges") == []


def test_import_is_idempotent_and_the_files_words_replace_what_is_stored(shop: Shop, tmp_path: Path) -> None:
    org = organization(claim_quantity=30)
    for _ in range(2):
        assert imported(shop, tmp_path / "orgs.json", entries_of(org)).code == 0
    changed = replace(org, policy={"claim_quantity": 7})
    assert imported(shop, tmp_path / "orgs.json", entries_of(changed)).code == 0
    assert org.code in shop.world.fuma.ok("organizations", "list")
    shop.world.issue(org, "after-the-change")
    assert [grant["quantity"] for grant in shop.world.authority.grants(org.taxpayer_id)] == [7]


def test_import_reads_yaml(shop: Shop, tmp_path: Path) -> None:
    org = organization()
    told = "\n".join(
        f"{'- ' if name == 'code' else '  '}{name}: {json.dumps(value)}" for name, value in org.entry().items()
    )
    assert imported(shop, tmp_path / "orgs.yaml", told).code == 0
    assert org.code in shop.world.fuma.ok("organizations", "list")


def test_an_id_that_fails_its_check_is_warned_about_and_taken(shop: Shop, tmp_path: Path) -> None:
    """The check character isn't reliable in real life."""
    right = organization().taxpayer_id
    wrong = right[:-1] + ("1" if right[-1] != "1" else "2")
    done = imported(shop, tmp_path / "orgs.json", entries_of(organization(taxpayer_id=wrong)))
    assert done.code == 0
    assert "check" in done.err


def test_codes_of_one_stock_must_agree(shop: Shop, tmp_path: Path) -> None:
    one = organization(claim_quantity=30, using_unit_id="UU0000000001")
    for other in (
        organization(taxpayer_id=one.taxpayer_id, claim_quantity=30, using_unit_id="UU0000000002"),
        organization(taxpayer_id=one.taxpayer_id, claim_quantity=31, using_unit_id="UU0000000001"),
    ):
        line = imported(shop, tmp_path / "orgs.json", entries_of(one, other)).refused()
        assert one.code in line
        assert other.code in line
    listed = shop.world.fuma.ok("organizations", "list")
    assert one.code not in listed, "a refused file changes nothing"

    assert imported(shop, tmp_path / "orgs.json", entries_of(one)).code == 0
    later = organization(taxpayer_id=one.taxpayer_id, claim_quantity=31, using_unit_id="UU0000000001")
    line = imported(shop, tmp_path / "orgs.json", entries_of(later)).refused()
    assert one.code in line
    assert later.code in line


def test_the_tax_id_of_a_code_that_was_used_stays(shop: Shop, tmp_path: Path) -> None:
    unused, used, claimed = organization(), organization(claim_quantity=5), organization()
    for org in (unused, used, claimed):
        assert imported(shop, tmp_path / "orgs.json", entries_of(org)).code == 0
    shop.world.issue(used, "uses-it")
    shop.world.claim(claimed, "claims-it", 1)
    elsewhere = organization().taxpayer_id
    assert imported(shop, tmp_path / "orgs.json", entries_of(replace(unused, taxpayer_id=elsewhere))).code == 0
    for org in (used, claimed):
        moved = replace(org, taxpayer_id=organization().taxpayer_id)
        assert org.code in imported(shop, tmp_path / "orgs.json", entries_of(moved)).refused()


@pytest.mark.parametrize(
    "wrong",
    [
        {"taxpayer_id": "too-short"},
        {"taxpayer_id": None},
        {"channel_mode": "by-mail"},
        {"claim_quantity": 5001},
        {"claim_quantity": 0},
        {"low_threshold": 1.5},
        {"code": ""},
        {"colour": "green"},
        {"using_unit_id": None},
    ],
    ids=lambda wrong: "-".join(f"{name}={value}" for name, value in wrong.items()),
)
def test_a_wrong_entry_is_refused_in_one_line(shop: Shop, tmp_path: Path, wrong: dict[str, object]) -> None:
    entry = {**organization().entry(), **wrong}
    line = imported(shop, tmp_path / "orgs.json", [entry]).refused()
    assert next(iter(wrong)) in line


@pytest.mark.parametrize("text", ["", "{", "42", "[1]", '{"code": "A"}', '[{"code": "A"}'])
def test_a_file_that_is_no_list_of_entries_is_refused(shop: Shop, tmp_path: Path, text: str) -> None:
    imported(shop, tmp_path / "orgs.json", text).refused()
    shop.world.fuma.run("organizations", "import", str(tmp_path / "absent.json")).refused()


def test_one_code_twice_in_a_file_is_refused(shop: Shop, tmp_path: Path) -> None:
    org = organization()
    assert org.code in imported(shop, tmp_path / "orgs.json", entries_of(org, replace(org, policy={}))).refused()


def emit_issue(world: World, org: Organization, key: str) -> str:
    """Ask for a number by `fuma emit`; gives what it printed."""
    return world.fuma.ok(
        "emit", "issue", "--organization", org.code, "--id", key, "--issue-date", china_today().isoformat()
    )


def test_emit_publishes_and_prints_the_id(shop: Shop) -> None:
    """The id of the request, once the broker has confirmed it."""
    org = shop.organization()
    asked = emit_issue(shop.world, org, "emitted-1")
    shop.world.events.one("number-assigned", taxpayer_id=org.taxpayer_id, issue_request_id="emitted-1")
    assert "emitted-1" in asked
    asked = shop.world.fuma.ok("emit", "claim", "--organization", org.code, "--quantity", "4")
    claimed = shop.world.events.one("range-claimed", taxpayer_id=org.taxpayer_id, claim_mode="manual")
    assert claimed.data["claim_id"] in asked
    assert claimed.data["quantity"] == 4
    asked = shop.world.fuma.ok("emit", "refresh", "--organization", org.code)
    refreshed = shop.world.events.one("range-refreshed", taxpayer_id=org.taxpayer_id)
    assert refreshed.data["refresh_id"] in asked


def test_emit_declares_the_topology_so_that_nothing_is_lost_before_the_first_worker(world: World) -> None:
    org = organization(claim_quantity=5)
    world.register(org)
    emit_issue(world, org, "emitted-early")
    assert world.events.everything() == []
    world.worker()
    world.events.one("number-assigned", taxpayer_id=org.taxpayer_id)


def test_emit_without_a_broker_fails(shop: Shop) -> None:
    shop.world.fuma.run("emit", "refresh", FUMA_BROKER_URL="amqp://guest:guest@127.0.0.1:9/").refused()


def test_watch_shows_events_as_they_come(shop: Shop) -> None:
    org = shop.organization()
    with (
        shop.world.fuma.start("watch") as all_topics,
        shop.world.fuma.start("watch", "--topic", "range-claimed") as one,
    ):
        numbers = iter(range(1000))

        def both_show() -> bool:
            """Publish until both watches have bound their queues."""
            shop.world.claim(org, f"watched-{next(numbers)}", 1)
            return all("watched-" in watch.out() for watch in (all_topics, one))

        eventually(both_show, within=30, what=lambda: f"{all_topics.log()}\n{one.log()}", step=0.3)
        (record,) = shop.world.issue(org, "watched-number")
        eventually(lambda: record.data["invoice_number"] in all_topics.out(), within=10, what=all_topics.log)
        assert "watched-number" not in one.out()
        one.interrupt()
        assert one.wait(10) in {0, 130}


def test_audit_prints_each_invariant_with_what_it_checked(shop: Shop) -> None:
    shop.world.issue(shop.organization(), "audited")
    lines = [line for line in shop.world.audit().splitlines() if re.search(r"\d", line)]
    assert len(lines) >= 5, lines


def test_the_asyncapi_document_names_every_topic_and_queue(shop: Shop) -> None:
    told = shop.world.fuma.ok("asyncapi")
    topics = (
        "invoice-issuing",
        "claim-requested",
        "refresh-requested",
        "number-assigned",
        "number-refused",
        "range-exhausted",
        "range-claimed",
        "claim-failed",
        "claim-unresolved",
        "range-refreshed",
    )
    assert "asyncapi" in told
    missing = [topic for topic in topics if f"fuma.{topic}.v1" not in told]
    assert missing == []
