"""The 20-digit invoice number and its arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.invoice_number import MAX_SEQUENCE, InvoiceNumber, InvoiceNumberError, format_number
from schemas.vocabulary import ChannelMode

PREFIXES = st.integers(0, 999_999)
SEQUENCES = st.integers(0, MAX_SEQUENCE)
NUMBERS = st.builds(InvoiceNumber, PREFIXES, SEQUENCES)


def test_a_number_says_its_year_region_channel_and_sequence() -> None:
    number = InvoiceNumber.parse("26447200000000001234")
    assert (number.prefix, number.sequence) == (264472, 1234)
    assert number.year == 2026
    assert number.region == "44"
    assert number.channel_mode is ChannelMode.JOINT


def test_leading_zeros_are_kept() -> None:
    number = InvoiceNumber.parse("05017000000000000007")
    assert (number.year, number.region) == (2005, "01")
    assert str(number) == "05017000000000000007"


def test_an_unknown_region_or_channel_is_no_error() -> None:
    number = InvoiceNumber.parse("26009900000000000001")
    assert number.region == "00"
    assert number.channel_mode is None


@pytest.mark.parametrize(("mode", "digits"), [("self-use", "70"), ("on-behalf", "71"), ("joint", "72")])
def test_a_channel_mode_and_its_digits_belong_together(mode: str, digits: str) -> None:
    assert ChannelMode(mode).digits == digits
    assert ChannelMode.from_digits(digits) is ChannelMode(mode)


@given(st.text(alphabet="0123456789", min_size=20, max_size=20))
def test_every_text_of_20_digits_reads_and_writes_the_same(text: str) -> None:
    assert str(InvoiceNumber.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2644700000000000001",
        "264470000000000000012",
        "+2644700000000000001",
        " 2644700000000000001",
        "2644700000000000001\n",
        "2644_700000000000001",
        "2644700000000000001a",
        "\uff12\uff16\uff14\uff14\uff17" + "\uff10" * 14 + "\uff11",
        "٢6447000000000000001",
        "26447²00000000000001",
        pytest.param(26447000000000000001, id="an integer"),
        pytest.param(2.6447e19, id="a float"),
        None,
        pytest.param(b"26447000000000000001", id="bytes"),
    ],
)
def test_anything_but_20_ascii_digits_is_refused(text: object) -> None:
    with pytest.raises(InvoiceNumberError):
        InvoiceNumber.parse(text)


def test_an_error_does_not_repeat_the_text() -> None:
    with pytest.raises(InvoiceNumberError) as refusal:
        InvoiceNumber.parse("secret")
    assert "secret" not in str(refusal.value)


@given(NUMBERS, NUMBERS)
def test_numbers_sort_as_their_digits_do(one: InvoiceNumber, other: InvoiceNumber) -> None:
    assert (one < other) == (str(one) < str(other))


@given(PREFIXES, SEQUENCES, SEQUENCES)
def test_a_distance_leads_from_one_number_to_the_other(prefix: int, first: int, last: int) -> None:
    one, other = InvoiceNumber(prefix, first), InvoiceNumber(prefix, last)
    assert one.plus(one.distance_to(other)) == other
    assert one.distance_to(other) == -other.distance_to(one)


def test_a_range_of_a_thousand_is_999_steps_long() -> None:
    first = InvoiceNumber.parse("26447000000000000001")
    assert first.distance_to(InvoiceNumber.parse("26447000000000001000")) == 999


def test_there_is_no_distance_between_different_prefixes() -> None:
    one, other = InvoiceNumber.parse("26447099999999999999"), InvoiceNumber.parse("26447100000000000000")
    for first, last in ((one, other), (other, one)):
        with pytest.raises(InvoiceNumberError):
            first.distance_to(last)


@given(NUMBERS)
def test_the_year_is_what_its_first_two_digits_say(number: InvoiceNumber) -> None:
    assert str(number.year) == "20" + str(number)[:2]


@pytest.mark.parametrize("prefix", [0, 9_999, 10_000, 259_999, 260_000, 269_999, 990_000, 999_999])
def test_a_year_ends_with_its_last_prefix(prefix: int) -> None:
    assert str(InvoiceNumber(prefix, 0).year) == "20" + f"{prefix:06}"[:2]


def test_adding_never_reaches_into_the_prefix() -> None:
    last = InvoiceNumber.parse("26447099999999999999")
    assert str(last.plus(0)) == "26447099999999999999"
    with pytest.raises(InvoiceNumberError):
        last.plus(1)
    with pytest.raises(InvoiceNumberError):
        InvoiceNumber.parse("26447000000000000000").plus(-1)


@pytest.mark.parametrize(("prefix", "sequence"), [(-1, 0), (1_000_000, 0), (0, -1), (0, MAX_SEQUENCE + 1)])
def test_parts_with_too_many_digits_are_refused(prefix: int, sequence: int) -> None:
    with pytest.raises(InvoiceNumberError):
        InvoiceNumber(prefix, sequence)


@given(NUMBERS)
def test_the_fast_way_of_writing_writes_the_same(number: InvoiceNumber) -> None:
    assert format_number(number.prefix, number.sequence) == str(number)
