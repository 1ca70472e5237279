"""The upstream of the run of chaos: its journal forgets nothing, and its book knows what is open."""

import random
from datetime import date
from pathlib import Path

from tests.support.chaos.book import Book
from tests.support.chaos.journal import Journal, read
from tests.support.chaos.made_up import assigned, came, number
from tests.support.outside.envelopes import Event

DAY = date(2026, 12, 31)


def test_a_torn_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    journal.write({"confirmed": "1"})
    journal.write({"confirmed": "x" * 100_000})
    with path.open("ab") as file:
        file.write(b'{"confirmed":"' + b"y" * 100_000)
    assert [line["confirmed"][0] for line in read(path)] == ["1", "x"]

    Journal(path).write({"confirmed": "2"})

    assert [line["confirmed"][0] for line in read(path)] == ["1", "x", "2"]


def test_a_journal_that_is_nothing_but_torn_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"confir')
    Journal(path).write({"confirmed": "1"})
    assert list(read(path)) == [{"confirmed": "1"}]


def a_book(seed: int = 1) -> Book:
    return Book(random.Random(seed))


def tell(book: Book, line: dict[str, list[Event]]) -> None:
    for each in line["came"]:
        book.came(each)


def asked(book: Book) -> tuple[str, Event]:
    event = book.issuing("ORG-1", DAY)
    book.sent("invoice-issuing", [event])
    [key] = book.open
    return key, event


def test_a_request_is_open_until_its_answer_comes() -> None:
    book = a_book()
    key, event = asked(book)
    tell(book, assigned("a", "I-99", 1))
    assert list(book.open) == [key]
    tell(book, assigned("b", key, 2))
    assert not book.open
    book.sent("invoice-issuing", [event])
    assert not book.open, "a repetition asks for nothing new"


def test_asked_anew_it_is_not_answered_by_what_was_told_before() -> None:
    book = a_book()
    key, event = asked(book)
    tell(book, assigned("a", key, 1))
    book.sent("invoice-issuing", [{**event, "id": "anew"}])
    tell(book, assigned("a", key, 1))
    tell(book, came("number-refused", "late", issue_request_id=key, reason="released"))
    assert list(book.open) == [key]
    tell(book, assigned("b", key, 1))
    assert not book.open


def test_what_a_restore_forgot_is_talked_about_no_more() -> None:
    book = a_book()
    key, event = asked(book)
    book.dumped()
    tell(book, assigned("a", key, 1))
    book.todo["invoice-outcome"].append(event)
    book.restored()
    assert book.forgotten == {key}
    assert not any(book.todo.values())
    assert all(book.repetition() is None for _ in range(10))


def test_uploads_are_reported_manual_numbers_used_and_keys_never_given_twice() -> None:
    book = a_book()
    claim: Event = {"id": "c", "data": {"claim_id": "C-1", "organization": "ORG-1", "quantity": 1000}}
    book.sent("claim-requested", [claim])
    first, last = number(1), number(1000)
    tell(
        book,
        came(
            "range-claimed", "c", claim_id="C-1", claim_mode="manual", year=2026, first_number=first, last_number=last
        ),
    )
    binding, naming = book.todo["number-binding-requested"], book.todo["invoice-issuing"]
    assert len(binding) > 300
    assert len(naming) > 200
    numbers = [each["data"][name] for todo, name in ((binding, "number"), (naming, "number")) for each in todo]  # type: ignore[index]
    assert len(set(numbers)) == len(numbers)
    keys = [each["data"]["issue_request_id"] for todo in (binding, naming) for each in todo]  # type: ignore[index]
    assert len(set(keys)) == len(keys)


def test_what_a_hand_threw_away_is_asked_again_once_and_nothing_else() -> None:
    book = a_book()
    lost, _ = asked(book)
    book.deleted("invoice-outcome")
    assert not book.to_ask_again()
    book.deleted("invoice-issuing")
    later = book.issuing("ORG-1", DAY)
    book.sent("invoice-issuing", [later])
    assert {topic: [each["id"] for each in events] for topic, events in book.to_ask_again().items()} == {
        "invoice-issuing": [book.asked[lost]["id"]]
    }
    assert not book.to_ask_again()
    book.restored()
    assert len(book.to_ask_again()["invoice-issuing"]) == 2
