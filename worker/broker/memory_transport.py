"""kombu's in-memory transport, with a name: brokers of different names in one process don't see each other.

kombu keeps one set of queues and exchanges for the whole process, on its transport's classes; here each name has
classes of its own. They live as long as the process, so whoever asks for a name again finds what is left in it.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from queue import Queue
from typing import Any

from kombu.transport import memory, virtual

_transports: dict[str, type[memory.Transport]] = {}
_naming = threading.Lock()


#: kombu's methods have no annotations.
_UntypedChannel: Any = memory.Channel


class MemoryChannel(_UntypedChannel):  # type: ignore[misc]
    """A channel that tells when something arrived, and puts back at the front what was taken."""

    #: Notified at each arrival in a queue of this name's broker.
    arrival: threading.Condition

    def _put(self, queue: str, message: dict[str, Any], **_options: object) -> None:
        """Implement kombu's hook for one message into one queue."""
        self._queue_for(queue).put(message)
        self.wake()

    def routes(self, exchange: str, routing_key: str) -> bool:
        """Whether a message would reach any queue."""
        if not exchange:
            return routing_key in self.queues
        if exchange not in self.state.exchanges:
            return False
        table = self.get_table(exchange)
        return bool(self.typeof(exchange).lookup(table, exchange, routing_key, None))

    def waiting(self, queue: str) -> int:
        """How many messages are in a queue and not taken."""
        return int(self._size(queue))

    def take(self, queue: str, wait: float) -> virtual.Message | None:
        """Take the next message of a queue, waiting up to `wait` seconds for one to arrive."""
        give_up = time.monotonic() + wait
        with self.arrival:
            message: virtual.Message | None = self.basic_get(queue)
            while message is None:
                left = give_up - time.monotonic()
                if left <= 0:
                    return None
                self.arrival.wait(left)
                message = self.basic_get(queue)
            return message

    def wake(self) -> None:
        """Let whoever waits for an arrival look again."""
        with self.arrival:
            self.arrival.notify_all()

    def remove_queue(self, queue: str, exchange: str, keys: Iterable[str]) -> None:
        """Unbind and delete: kombu has neither exclusive nor auto-deleted queues in memory."""
        for key in keys:
            self.queue_unbind(queue, exchange, key)
        self._delete(queue)

    def put_back(self, queue: str, messages: Iterable[virtual.Message]) -> None:
        """Give messages back, in their old order before all others, and forget that they were out."""
        returned = list(messages)
        stored: Queue[dict[str, Any]] = self._queue_for(queue)
        with stored.mutex:
            for message in reversed(returned):
                payload = message.serializable()
                payload["properties"] = {**payload["properties"], "redelivered": True}
                stored.queue.appendleft(payload)
        for message in returned:
            self.basic_ack(message.delivery_tag)
        self.wake()


def memory_transport(name: str) -> type[memory.Transport]:
    """Give the transport of a name, for `kombu.Connection(transport=…)`."""
    with _naming:
        if name not in _transports:
            _transports[name] = _new_transport()
        return _transports[name]


def _new_transport() -> type[memory.Transport]:
    channel = type(
        "NamedChannel",
        (MemoryChannel,),
        {"queues": {}, "events": defaultdict(set), "arrival": threading.Condition()},
    )
    return type("NamedTransport", (memory.Transport,), {"Channel": channel, "global_state": virtual.BrokerState()})
