"""What can be published at all, and what of received headers may go on."""

from pika.compat import long

from worker.broker.port import Message, Outcome
from worker.broker.publication import LONGEST_HEADERS, Publication, carriable, require_publishable

MESSAGES = [Message("e", "k", b"12", "t") for _ in range(3)]


def test_headers_of_another_message_are_taken_along_as_far_as_they_fit() -> None:
    headers = {"ce-id": "a", "number": 1, "table": {"a": 1}, "long": "x" * LONGEST_HEADERS, "behind": "b"}

    assert carriable(headers) == {"ce-id": "a", "number": 1}


def test_what_was_taken_along_can_be_published_with_ours_added() -> None:
    taken = carriable({f"ce-{number}": "值" * 100 for number in range(1000)})

    require_publishable(Message("e", "k", b"", "t", headers={**taken, "x-fuma-detail": "d" * 1000}))

    assert len(taken) > 50


def test_a_publication_is_answered_when_its_last_message_is() -> None:
    publication = Publication(MESSAGES, deadline=1.0)

    assert publication.size == 6
    assert not publication.settle(2, Outcome.UNROUTABLE)
    assert not publication.settle(0, Outcome.CONFIRMED)
    assert not publication.settle(0, Outcome.UNKNOWN)
    assert not publication.done
    assert publication.settle(1, Outcome.UNKNOWN)
    assert publication.future.result(0) == [Outcome.CONFIRMED, Outcome.UNKNOWN, Outcome.UNROUTABLE]


def test_a_publication_given_up_keeps_what_is_known_and_sends_no_more() -> None:
    publication = Publication(MESSAGES, deadline=1.0)
    assert [publication.next_to_send(), publication.next_to_send()] == [0, 1]
    publication.settle(1, Outcome.CONFIRMED)

    assert publication.give_up()

    assert not publication.give_up()
    assert not publication.settle(0, Outcome.CONFIRMED)
    assert publication.future.result(0) == [Outcome.UNKNOWN, Outcome.CONFIRMED, Outcome.UNKNOWN]
    assert publication.next_to_send() is None


def test_an_integer_of_pikas_own_kind_is_carried_at_once() -> None:
    """A message that was delivered before counts so in its header, as pika reads it."""
    assert carriable({"x-delivery-count": long(3), "beyond": long(2**63)}) == {"x-delivery-count": 3}
