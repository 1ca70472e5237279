"""Deliveries that have come and wait to be taken: filled by the connection's thread, emptied by the worker's."""

import threading
import time
from collections import deque
from collections.abc import Sequence

from worker.broker.port import Delivery, DeliveryBatch

#: A batch closes at this many bytes of bodies too (but never without one delivery), whatever its size in messages.
BATCH_BYTES = 16 * 1024 * 1024


class ReadAhead:
    """The deliveries of one generation, that is, of one channel.

    `void` drops them and begins the next generation: what comes late from the old channel no longer gets in.
    """

    def __init__(self) -> None:
        """Begin with generation 1, empty."""
        self._changed = threading.Condition()
        self._waiting: deque[tuple[float, Delivery]] = deque()
        self._bytes = 0
        self._generation = 1
        self._closed = False
        #: How many deliveries the waiting taker needs before it is worth waking; None when nobody waits.
        self._wake_at: int | None = None

    @property
    def generation(self) -> int:
        """The present generation."""
        return self._generation

    def put(self, generation: int, deliveries: Sequence[Delivery]) -> int:
        """Add deliveries that came at once, unless they are of a void generation. Gives the bytes that wait now."""
        with self._changed:
            if generation != self._generation or self._closed:
                return 0
            now = time.monotonic()
            self._waiting.extend([(now, delivery) for delivery in deliveries])
            self._bytes += sum([len(delivery.body) for delivery in deliveries])
            enough = self._wake_at is not None and len(self._waiting) >= self._wake_at
            if enough or self._bytes >= BATCH_BYTES:
                self._wake()
            return self._bytes

    def __len__(self) -> int:
        """How many deliveries wait."""
        return len(self._waiting)

    def void(self, generation: int) -> bool:
        """End a generation with all that waits of it. False where it had ended already."""
        with self._changed:
            if generation != self._generation:
                return False
            self._generation += 1
            self._waiting.clear()
            self._bytes = 0
            self._wake()
            return True

    def close(self) -> None:
        """Drop everything and let nothing in any more."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._bytes = 0
            self._wake()

    def take(self, *, size: int, age: float, wait: float) -> DeliveryBatch | None:
        """Give the next batch as `Subscription.next_batch` promises."""
        give_up = time.monotonic() + wait
        with self._changed:
            while not self._full_or_old(size, age):
                left = give_up - time.monotonic()
                if left <= 0 or self._closed:
                    return None
                self._sleep(1, left)
            return self._taken(size)

    def _full_or_old(self, size: int, age: float) -> bool:
        """Wait until the batch that begins with the oldest delivery may close. False where there is none any more."""
        while self._waiting:
            left = self._waiting[0][0] + age - time.monotonic()
            if left <= 0 or len(self._waiting) >= size or self._bytes >= BATCH_BYTES:
                return True
            self._sleep(size, left)
        return False

    def _taken(self, size: int) -> DeliveryBatch:
        taken: list[Delivery] = []
        taken_bytes = 0
        while self._waiting and len(taken) < size and taken_bytes < BATCH_BYTES:
            _, delivery = self._waiting.popleft()
            taken.append(delivery)
            taken_bytes += len(delivery.body)
        self._bytes -= taken_bytes
        return DeliveryBatch(tuple(taken), self._generation)

    def _sleep(self, wake_at: int, seconds: float) -> None:
        self._wake_at = wake_at
        self._changed.wait(seconds)
        self._wake_at = None

    def _wake(self) -> None:
        self._wake_at = None
        self._changed.notify_all()
