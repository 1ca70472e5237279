"""Look at the dead letters without losing or reordering them, and send them back: `fuma dead-letters`.

That holds also for who is killed meanwhile, or cut off from the broker.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from worker.broker.address import BrokerAddress, BrokerUrlError
from worker.broker.command_channel import CommandChannel
from worker.broker.kombu_wire import BrokerError, connected, translated
from worker.broker.letters import DeadLetter, as_it_was, read_letter
from worker.broker.parcel import Parcel
from worker.broker.port import Outcome
from worker.broker.topology import DEAD_LETTERS

#: Letters that could not be sent back and are named; of the others only the number is told.
MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are meant: those for which all that is given here holds."""

    reason: str | None = None
    topic: str | None = None
    #: Aware; letters without a known time are outside of any bound.
    since: datetime | None = None
    until: datetime | None = None
    #: A message id, or a position as `read_letters` counted it.
    which: str | None = None

    def holds(self, letter: DeadLetter) -> bool:
        """Whether a letter is meant."""
        return (
            self.reason in {None, letter.reason}
            and self.topic in {None, letter.topic}
            and (self.since is None or (letter.at is not None and letter.at >= self.since))
            and (self.until is None or (letter.at is not None and letter.at < self.until))
            and (self.which is None or self.which in {letter.message_id, str(letter.position)})
        )


EVERYTHING = Selection()


@dataclass(slots=True)
class Redriven:
    """What a redrive did, or in a dry run would do, in numbers: there may be more letters than memory."""

    #: Back in their queues; in a dry run still where they were.
    sent: int = 0
    #: Still among the dead letters though meant.
    kept: int = 0
    #: The first `MOST_NAMED` of those, in the order of their queue, each with why.
    named: list[tuple[DeadLetter, str]] = field(default_factory=list)


def read_letters(url: str, selection: Selection = EVERYTHING, *, limit: int | None = None) -> list[DeadLetter]:
    """Give the letters that are meant, the oldest first, at most `limit`; all stay where they are.

    Letters that another reader holds at the same moment are not seen. `BrokerError` where the broker can't be asked.
    """
    found: list[DeadLetter] = []

    def look(letter: DeadLetter, _parcel: Parcel) -> _Next:
        if selection.holds(letter):
            found.append(letter)
        return _Next(done=False, stop=limit is not None and len(found) >= limit)

    if limit is None or limit > 0:
        _go_through(url, look)
    return found


def find_letter(url: str, which: str) -> tuple[DeadLetter, Parcel] | None:
    """Give the first letter of a message id or position with its body and headers; None where there is none."""
    found: list[tuple[DeadLetter, Parcel]] = []
    selection = Selection(which=which)

    def look(letter: DeadLetter, parcel: Parcel) -> _Next:
        if selection.holds(letter):
            found.append((letter, parcel))
        return _Next(done=False, stop=bool(found))

    _go_through(url, look)
    return found[0] if found else None


def redrive(url: str, selection: Selection, *, dry_run: bool = False) -> Redriven:
    """Send the letters that are meant back to the queues that they came from, one after the other.

    A letter leaves the dead letters only after the broker has confirmed it in its queue; after a crash in between it
    stands in both. Each letter is looked at once, so that one that comes straight back isn't sent again. A letter
    with no known queue, or whose queue is gone or full, is kept. `BrokerError` where the broker fails meanwhile.
    """
    result = Redriven()

    def send(letter: DeadLetter, parcel: Parcel) -> _Next:
        if not selection.holds(letter):
            return _STAYS
        problem = _problem_of_sending(sending, letter, parcel, dry_run=dry_run)
        if problem is not None:
            result.kept += 1
            if result.kept <= MOST_NAMED:
                result.named.append((letter, problem))
            return _STAYS
        result.sent += 1
        return _Next(done=not dry_run, stop=False)

    # A connection of its own: on the other one each confirm would come behind all letters that are under way.
    with _opened(url) as sending:
        _go_through(url, send)
    return result


@dataclass(frozen=True, slots=True)
class _Next:
    """What follows after a letter: whether it is done with (and leaves the queue), and whether to stop looking."""

    done: bool
    stop: bool


_STAYS = _Next(done=False, stop=False)


def _problem_of_sending(
    channel: CommandChannel,
    letter: DeadLetter,
    parcel: Parcel,
    *,
    dry_run: bool,
) -> str | None:
    if letter.queue is None:
        return "nothing tells which queue it came from"
    if dry_run:
        return None
    outcome = channel.publish("", letter.queue, as_it_was(parcel))
    if outcome is Outcome.UNROUTABLE:
        return f"there is no queue {letter.queue}"
    if outcome is Outcome.UNKNOWN:
        return f"the queue {letter.queue} took nothing: is it at its limit?"
    return None


def _go_through(url: str, visit: Callable[[DeadLetter, Parcel], _Next]) -> None:
    """Visit each letter that lies there now, once. What isn't done with goes back to its place at the end."""
    with _opened(url) as channel:
        for position, taken in enumerate(channel.take_all(DEAD_LETTERS), start=1):
            following = visit(read_letter(position, taken.parcel), taken.parcel)
            if following.done:
                channel.acknowledge(taken)
            if following.stop:
                break


@contextmanager
def _opened(url: str) -> Iterator[CommandChannel]:
    try:
        address = BrokerAddress.parse(url)
    except BrokerUrlError as error:
        raise BrokerError(str(error)) from None
    with connected(address) as connection, translated(address, "to hand out the dead letters"):
        channel = CommandChannel(connection)
        try:
            yield channel
        finally:
            channel.close(DEAD_LETTERS)
