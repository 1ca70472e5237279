"""The tax id: its shape is a rule, its check character a hint."""

import pytest

from schemas.taxpayer_id import TaxpayerIdError, check_taxpayer_id, usci_warning

TRUE_EXAMPLES = ["91350100M000100Y43", "91110000101623741K", "92330203MA7ETU5T10", "91440300587908164C"]


@pytest.mark.parametrize("text", [*TRUE_EXAMPLES, "123456789012345", "A" * 20])
def test_15_to_20_capitals_and_digits_are_a_tax_id(text: str) -> None:
    check_taxpayer_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9" * 14,
        "9" * 21,
        "91350100m000100y43",
        "91350100M000100Y4 ",
        "91350100M000100Y43\n",
        "\uff191350100M000100Y43",
    ],
)
def test_another_shape_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(TaxpayerIdError) as refusal:
        check_taxpayer_id(text)
    assert str(refusal.value) == "a tax id has 15 to 20 capital letters and digits"


@pytest.mark.parametrize("text", TRUE_EXAMPLES)
def test_the_true_examples_pass_the_check(text: str) -> None:
    assert usci_warning(text) is None


@pytest.mark.parametrize("place", range(18))
def test_one_wrong_character_at_any_place_is_warned_about(place: int) -> None:
    good = "91440300587908164C"
    wrong = "1" if good[place] != "1" else "2"
    assert usci_warning(good[:place] + wrong + good[place + 1 :]) is not None


@pytest.mark.parametrize("letter", "IOSVZ")
def test_a_letter_that_no_code_has_is_warned_about(letter: str) -> None:
    assert usci_warning("9144030058790816" + letter + "C") is not None


@pytest.mark.parametrize("text", ["123456789012345", "12345678901234567", "12345678901234567890"])
def test_older_lengths_have_no_check(text: str) -> None:
    assert usci_warning(text) is None
