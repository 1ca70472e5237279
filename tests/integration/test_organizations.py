"""Registering organisations: the contract's "Organisations file", against a real database."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select

from db.engine import open_engine
from db.organizations import ImportRefusedError, ImportResult, import_organizations, list_organizations
from db.tables import channels
from schemas.organizations import OrganizationEntry
from tests.support.ledger import NOW, OTHER_TAXPAYER, TAXPAYER, Ledger

LATER = NOW + timedelta(days=1)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(database_url, application="fuma-test")
    yield opened
    opened.dispose()


def entry(code: str, **said: object) -> OrganizationEntry:
    ordinary = {
        "code": code,
        "name": f"organisation {code}",
        "taxpayer_id": TAXPAYER,
        "channel_mode": "self-use",
        "using_unit_id": "U1",
    }
    return OrganizationEntry.model_validate(ordinary | said)


def put(engine: Engine, *entries: OrganizationEntry, environment: str = "sandbox") -> ImportResult:
    with engine.begin() as connection:
        return import_organizations(connection, environment, entries, NOW)


def stored(engine: Engine, environment: str = "sandbox") -> dict[str, tuple[object, ...]]:
    with engine.begin() as connection:
        return {
            each.organization.code: (
                each.organization.taxpayer_id,
                each.organization.channel_mode,
                each.organization.policy.claim_quantity,
            )
            for each in list_organizations(connection, environment)
        }


def refusal(engine: Engine, *entries: OrganizationEntry) -> str:
    before = stored(engine)
    with pytest.raises(ImportRefusedError) as refused:
        put(engine, *entries)
    assert stored(engine) == before
    return str(refused.value)


def test_the_file_is_registered(engine: Engine) -> None:
    result = put(engine, entry("A"), entry("B", taxpayer_id=OTHER_TAXPAYER, claim_quantity=5000))
    assert (result.created, result.replaced, result.unchanged) == (("A", "B"), (), ())
    assert stored(engine) == {"A": (TAXPAYER, "self-use", 1000), "B": (OTHER_TAXPAYER, "self-use", 5000)}


@pytest.mark.parametrize("threshold", [0, 0.2, 0.3333333, 1])
def test_the_same_file_again_changes_nothing(engine: Engine, threshold: float) -> None:
    entries = [entry("A", low_threshold=threshold), entry("B", low_threshold=threshold)]
    put(engine, *entries)
    result = put(engine, *entries)
    assert (result.created, result.replaced, result.unchanged) == ((), (), ("A", "B"))


def test_the_files_words_replace_what_is_stored_for_its_codes_only(engine: Engine) -> None:
    put(engine, entry("A"), entry("B", taxpayer_id=OTHER_TAXPAYER))
    result = put(engine, entry("A", name="renamed", claim_quantity=7), entry("C", taxpayer_id=OTHER_TAXPAYER))
    assert (result.created, result.replaced, result.unchanged) == (("C",), ("A",), ())
    assert stored(engine) == {
        "A": (TAXPAYER, "self-use", 7),
        "B": (OTHER_TAXPAYER, "self-use", 1000),
        "C": (OTHER_TAXPAYER, "self-use", 1000),
    }


def test_the_day_of_the_first_registration_stays(engine: Engine) -> None:
    put(engine, entry("A"))
    with engine.begin() as connection:
        import_organizations(connection, "sandbox", [entry("A", name="renamed")], LATER)
        assert [each.created_at for each in list_organizations(connection, "sandbox")] == [NOW]


def test_an_empty_file_is_fine(engine: Engine) -> None:
    assert put(engine) == ImportResult((), (), (), ())


def test_a_code_twice_in_the_file_is_refused(engine: Engine) -> None:
    assert "A more than once" in refusal(engine, entry("A"), entry("A"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("using_unit_id", "U2"), ("automatic_claims", False), ("claim_quantity", 999), ("low_threshold", 0.5)],
)
def test_codes_of_one_stock_must_agree_in_the_file(engine: Engine, field: str, value: object) -> None:
    said = refusal(engine, entry("A"), entry("B", **{field: value}))
    assert {"A", "B"} <= set(said.split())
    assert field in said


@pytest.mark.parametrize(("field", "value"), [("using_unit_id", "U2"), ("claim_quantity", 999)])
def test_codes_of_one_stock_must_agree_with_those_stored(engine: Engine, field: str, value: object) -> None:
    put(engine, entry("A"))
    said = refusal(engine, entry("B", **{field: value}))
    assert {"A", "B"} <= set(said.split())
    assert field in said


def test_who_is_in_the_file_no_longer_holds_on_to_its_old_words(engine: Engine) -> None:
    put(engine, entry("A"), entry("B"))
    put(engine, entry("A", claim_quantity=5), entry("B", claim_quantity=5))
    assert stored(engine) == {"A": (TAXPAYER, "self-use", 5), "B": (TAXPAYER, "self-use", 5)}


def test_other_modes_of_a_taxpayer_have_a_policy_of_their_own(engine: Engine) -> None:
    put(engine, entry("A"), entry("B", channel_mode="joint", claim_quantity=5))
    assert stored(engine) == {"A": (TAXPAYER, "self-use", 1000), "B": (TAXPAYER, "joint", 5)}


def test_who_leaves_a_channel_no_longer_has_to_agree_with_it(engine: Engine) -> None:
    put(engine, entry("A"), entry("B"))
    put(engine, entry("B", channel_mode="joint", claim_quantity=5))
    assert stored(engine) == {"A": (TAXPAYER, "self-use", 1000), "B": (TAXPAYER, "joint", 5)}


def test_a_channel_that_everybody_left_is_gone(engine: Engine) -> None:
    put(engine, entry("A"))
    put(engine, entry("A", channel_mode="joint"))
    with engine.begin() as connection:
        assert connection.execute(select(channels.c.channel_mode)).scalars().all() == ["joint"]


def test_environments_do_not_see_each_other(engine: Engine) -> None:
    put(engine, entry("A"))
    result = put(engine, entry("A", claim_quantity=5, taxpayer_id=OTHER_TAXPAYER), environment="production")
    assert result.created == ("A",)
    assert stored(engine) == {"A": (TAXPAYER, "self-use", 1000)}
    assert stored(engine, "production") == {"A": (OTHER_TAXPAYER, "self-use", 5)}


def test_a_code_that_was_never_used_may_change_its_tax_id(engine: Engine) -> None:
    put(engine, entry("A"))
    put(engine, entry("A", taxpayer_id=OTHER_TAXPAYER))
    assert stored(engine) == {"A": (OTHER_TAXPAYER, "self-use", 1000)}


@pytest.mark.parametrize("used_by", ["request", "claim"])
def test_a_code_with_requests_or_claims_keeps_its_tax_id(engine: Engine, used_by: str) -> None:
    put(engine, entry("A"))
    with engine.begin() as connection:
        ledger = Ledger(connection)
        ledger.stock()
        if used_by == "request":
            ledger.request("R1", "A", status="closed")
        else:
            ledger.claim("C1", status="refused", claim_mode="manual", organization="A")
    said = refusal(engine, entry("A", taxpayer_id=OTHER_TAXPAYER))
    assert "taxpayer_id of A" in said
    assert put(engine, entry("A", name="renamed", claim_quantity=5)).replaced == ("A",)


def test_a_doubtful_tax_id_is_taken_with_a_warning(engine: Engine) -> None:
    result = put(engine, entry("A", taxpayer_id="91350100M000100Y44"), entry("B"))
    assert result.created == ("A", "B")
    assert [warning.split(":")[0] for warning in result.warnings] == ["A"]


def test_two_imports_at_once_leave_no_disagreement(engine: Engine) -> None:
    """Each brings a code of the same stock with words of its own: one of them must see the other."""
    together = threading.Barrier(2)

    def bring(code: str, quantity: int) -> bool:
        together.wait(timeout=30)
        try:
            put(engine, entry(code, claim_quantity=quantity))
        except ImportRefusedError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(bring, ("A", "B"), (1, 2)))
    assert sorted(outcomes) == [False, True]
    assert len(stored(engine)) == 1


def test_an_import_waits_for_the_one_before_it(engine: Engine) -> None:
    """The second starts while the first is not committed, and then sees all of it."""
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as first:
            import_organizations(first, "sandbox", [entry("A")], NOW)
            second = pool.submit(put, engine, entry("A"))
        assert second.result(timeout=30).unchanged == ("A",)
