"""The organisations file, and what it says to whoever wrote it."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.organizations import OrganizationEntry, OrganizationsError, check_agreement, read_organizations
from schemas.vocabulary import ChannelMode

ENTRY: dict[str, object] = {
    "code": "A",
    "name": "甲公司",
    "taxpayer_id": "91350100M000100Y43",
    "channel_mode": "self-use",
    "using_unit_id": "U000001",
}


def read(*entries: object) -> list[OrganizationEntry]:
    return read_organizations(json.dumps(entries), suffix=".json")


def refused(*entries: object) -> str:
    with pytest.raises(OrganizationsError) as refusal:
        read(*entries)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_an_entry_without_a_policy_has_the_usual_one() -> None:
    (entry,) = read(ENTRY)
    assert entry == OrganizationEntry(
        code="A",
        name="甲公司",
        taxpayer_id="91350100M000100Y43",
        channel_mode=ChannelMode.SELF_USE,
        using_unit_id="U000001",
        automatic_claims=True,
        claim_quantity=1000,
        claim_sizing="fixed",
        low_threshold=0.2,
    )


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".YAML"])
def test_yaml_says_the_same_as_json(suffix: str) -> None:
    text = """
    # Who invoices.
    - &policy
      code: A
      name: 甲公司
      taxpayer_id: 91350100M000100Y43
      channel_mode: self-use
      using_unit_id: U000001
      claim_quantity: 50
      low_threshold: 0
    - <<: *policy
      code: B
    """
    policy = {"claim_quantity": 50, "low_threshold": 0}
    assert read_organizations(text, suffix=suffix) == read(ENTRY | policy, ENTRY | policy | {"code": "B"})


def test_an_empty_list_is_a_file_without_entries() -> None:
    assert read_organizations("[]", suffix=".yaml") == read() == []


@pytest.mark.parametrize("field", ENTRY)
def test_a_missing_field_is_named_with_its_entry(field: str) -> None:
    wrong = {key: value for key, value in ENTRY.items() if key != field}
    where = "entry 2" if field == "code" else "entry 2 (code A)"
    words = refused(ENTRY | {"code": "Z"}, wrong)
    assert words.startswith(f"{where}: {field}: expected")
    assert words.endswith("but it is missing")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("code", ""),
        ("code", "x" * 65),
        ("name", "a\nb"),
        ("taxpayer_id", "91350100m000100y43"),
        ("taxpayer_id", 913501000001000),
        ("channel_mode", "70"),
        ("using_unit_id", "U 1"),
        ("using_unit_id", "U" * 51),
        ("using_unit_id", "单位"),
        ("automatic_claims", "yes"),
        ("claim_quantity", 0),
        ("claim_quantity", 5001),
        ("claim_quantity", 10.0),
        ("claim_sizing", "hunger"),
        ("low_threshold", -0.1),
        ("low_threshold", 1.1),
        ("low_threshold", "0.2"),
    ],
)
def test_a_wrong_value_is_told_by_its_field(field: str, value: object) -> None:
    words = refused(ENTRY | {field: value})
    assert words.startswith("entry 1")
    assert f": {field}: expected " in words


def test_digits_that_yaml_took_for_a_number_are_explained() -> None:
    assert "in quotes where it is digits only" in refused(ENTRY | {"code": 17})


def test_an_unknown_field_is_named_so_that_a_slip_can_be_found() -> None:
    assert refused(ENTRY | {"claim_quantitty": 5}).startswith("entry 1 (code A): 'claim_quantitty' is unknown; known")


def test_a_code_stands_there_once() -> None:
    assert refused(ENTRY, ENTRY) == "code A stands there twice"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("using_unit_id", "U2"),
        ("automatic_claims", False),
        ("claim_quantity", 999),
        ("low_threshold", 0.3),
    ],
)
def test_codes_that_share_a_stock_agree_in_its_policy(field: str, value: object) -> None:
    other = ENTRY | {"code": "B", field: value}
    assert refused(ENTRY, other) == f"codes A and B share one stock, so they must agree in {field}"


@pytest.mark.parametrize("own", [{"channel_mode": "joint"}, {"taxpayer_id": "91440300587908164C"}])
def test_codes_of_different_stocks_need_not_agree(own: dict[str, object]) -> None:
    assert len(read(ENTRY, ENTRY | {"code": "B", "claim_quantity": 5} | own)) == 2


def test_agreement_is_checked_between_entries_of_any_origin() -> None:
    stored, imported = read(ENTRY)[0], read(ENTRY | {"code": "B", "using_unit_id": "U2"})[0]
    with pytest.raises(OrganizationsError, match="codes A and B"):
        check_agreement([stored, imported])


@pytest.mark.parametrize("entry", ["A", 1, None, []])
def test_an_entry_is_fields_and_values(entry: object) -> None:
    assert refused(ENTRY, entry) == "entry 2: expected fields and their values"


@pytest.mark.parametrize(
    ("text", "suffix", "words"),
    [
        ("", ".yaml", "a list of entries"),
        ("code: A", ".yaml", "a list of entries"),
        ("{}", ".json", "a list of entries"),
        ("[", ".json", "as JSON: not JSON from character 1 on"),
        ('[{"code":"A","code":"B"}]', ".json", "same key twice"),
        ("[" * 1000, ".json", "nested"),
        ("- code: A\n  code: B", ".yaml", "line 1: the same key twice"),
        ("- a: [", ".yaml", "as YAML, line 1"),
        ("- !!python/object/apply:os.getcwd []", ".yaml", "as YAML, line 1"),
        ("\0", ".yaml", "as YAML"),
        ("[" * 5000, ".yaml", "as YAML"),
        ("- 2026-13-45", ".yaml", "as YAML"),
        ("[]", ".csv", "ends in .yaml, .yml or .json"),
    ],
)
def test_a_file_that_can_not_be_read_says_why(text: str, suffix: str, words: str) -> None:
    with pytest.raises(OrganizationsError, match=words):
        read_organizations(text, suffix=suffix)


@given(st.text(), st.sampled_from([".yaml", ".json"]))
def test_no_text_whatever_is_taken_for_an_entry(text: str, suffix: str) -> None:
    with suppress(OrganizationsError):
        assert read_organizations(text, suffix=suffix) == []
