"""One call of `publish`: its messages, and what is known so far of what became of them."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future

from worker.broker.port import Message, Outcome

#: AMQP's short strings: routing keys, ids, content types, names.
_SHORT = 255
_LEAST, _MOST = -(2**63), 2**63 - 1
#: Bytes of all headers: they must fit into one frame, which is 128 KiB where nobody set it otherwise.
LONGEST_HEADERS = 100 * 1024
_PER_HEADER = 16
_OURS = "x-fuma-"


class Publication:
    """Messages that are answered together. Used by one thread at a time."""

    def __init__(self, messages: Sequence[Message], deadline: float) -> None:
        """Take the messages; `deadline` is the monotonic time at which their publisher gives up on them."""
        self.messages = messages
        self.deadline = deadline
        self.size = sum(len(message.body) for message in messages)
        self.future: Future[list[Outcome]] = Future()
        # From now on it can't be cancelled, so that giving it its result never fails.
        self.future.set_running_or_notify_cancel()
        self._outcomes: list[Outcome | None] = [None] * len(messages)
        self._missing = len(messages)
        self._next = 0

    @property
    def done(self) -> bool:
        """Whether the future has its result."""
        return self.future.done()

    def next_to_send(self) -> int | None:
        """Give the index of the next message to send; None where all are sent, or it was given up."""
        if self._next >= len(self.messages) or self.done:
            return None
        self._next += 1
        return self._next - 1

    def settle(self, index: int, outcome: Outcome) -> bool:
        """Note one outcome. True when it was the last, and the future has its result now."""
        if self.done or self._outcomes[index] is not None:
            return False
        self._outcomes[index] = outcome
        self._missing -= 1
        return not self._missing and self.give_up()

    def give_up(self) -> bool:
        """Give the future its result, `UNKNOWN` where nothing is known. False where it had one."""
        if self.done:
            return False
        self.future.set_result([outcome or Outcome.UNKNOWN for outcome in self._outcomes])
        return True


def require_publishable(message: Message) -> None:
    """Raise ValueError for a message that no broker can ever take: it would only break the channel for the others."""
    for name, text in (
        ("exchange", message.exchange),
        ("routing key", message.routing_key),
        ("content type", message.content_type),
        ("content encoding", message.content_encoding or ""),
        ("message id", message.message_id or ""),
    ):
        _require_short(name, text)
    if message.headers:
        _require_carriable(message.headers)


def fitting(text: str | None) -> str | None:
    """Give a text that a property can hold, at most 255 bytes of UTF-8; None for any other."""
    return text if text is not None and _is_short(text) else None


def carriable(headers: Mapping[str, object]) -> dict[str, str | int]:
    """Give what of a received message's headers a new message may take along: texts and integers, half a frame of them.

    A message that came in with a frame full of headers can't go on with ours added: its sender would have broken the
    channel for everybody else's messages. Headers under our own names are left out: nobody else speaks for us.
    """
    taken: dict[str, str | int] = {}
    room = LONGEST_HEADERS // 2
    for name, value in headers.items():
        if not isinstance(value, str | int) or not _is_short(name) or name.lower().startswith(_OURS):
            continue
        if not (_is_encodable(value) if isinstance(value, str) else _fits(value)):
            continue
        room -= len(name.encode()) + len(str(value).encode()) + _PER_HEADER
        if room < 0:
            break
        taken[name] = value
    return taken


def _require_carriable(headers: Mapping[str, str | int]) -> None:
    size = 0
    for name, value in headers.items():
        _require_short("header's name", name)
        if isinstance(value, int):
            _require(_fits(value), f"the header {name} is beyond 64 bits")
        else:
            _require(_is_encodable(value), f"the header {name} isn't text that UTF-8 can hold")
            size += len(value.encode())
        size += len(name.encode()) + _PER_HEADER
    _require(size <= LONGEST_HEADERS, f"the headers are longer than {LONGEST_HEADERS} bytes")


def _require_short(name: str, text: str) -> None:
    _require(_is_short(text), f"the {name} is longer than {_SHORT} bytes, or isn't text that UTF-8 can hold")


def _is_short(text: str) -> bool:
    if text.isascii():
        return len(text) <= _SHORT
    return _is_encodable(text) and len(text.encode()) <= _SHORT


def _fits(value: int) -> bool:
    # Compared, not looked for in a range: pika's own kind of integers, which a redelivery's count comes as, would be
    # looked for one by one.
    return _LEAST <= value <= _MOST


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _require(holds: bool, problem: str) -> None:  # noqa: FBT001  # an assertion
    if not holds:
        raise ValueError(problem)
