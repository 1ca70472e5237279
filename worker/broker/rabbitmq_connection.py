"""A connection of pika's that lets the plain frames pass it by (`rabbitmq_frames`)."""

from collections.abc import Callable, Sequence
from typing import Any

from pika.adapters.select_connection import SelectConnection
from pika.frame import decode_frame

from worker.broker.port import Delivery
from worker.broker.rabbitmq_frames import (
    Confirm,
    channel_of,
    frame_end,
    is_delivery,
    read_confirm,
    read_delivery,
)

#: Bytes that are read from the socket at once: many messages, where pika's own 4 KiB hold a few.
_READ = 128 * 1024
_PROTOCOL_HEADER = 8

Delivered = Callable[[Sequence[Delivery]], None]
Confirmed = Callable[[Sequence[Confirm]], None]


class PlainConnection(SelectConnection):  # type: ignore[misc]  # pika has no types
    """Reads plain deliveries and confirms itself, for those who asked for them; everything else goes pika's way.

    What came is told in its order: whoever is told of what pika read was told before of what came before.
    """

    def __init__(self, *arguments: object, **named: object) -> None:
        self._delivered: dict[tuple[int, bytes], Delivered] = {}
        self._confirmed: dict[int, Confirmed] = {}
        self._told: Callable[[Sequence[Any]], None] | None = None
        self._untold: list[Delivery | Confirm] = []
        self._wanted = 0
        self._frame_buffer = b""
        super().__init__(*arguments, **named)

    @property
    def body_max_length(self) -> int:
        """The most bytes of a body that one frame carries."""
        return int(self._body_max_length)

    def tell_deliveries(self, channel: int, consumer_tag: str, delivered: Delivered) -> None:
        """Hand deliveries of this consumer over, as many as came at once."""
        self._delivered[channel, consumer_tag.encode()] = delivered

    def leave_to_pika(self, channel: int, consumer_tag: str) -> None:
        """Let deliveries of this consumer go pika's way: it gives back what still comes for one that is cancelled."""
        self._delivered.pop((channel, consumer_tag.encode()), None)

    def tell_confirms(self, channel: int, confirmed: Confirmed) -> None:
        """Hand the confirms of this channel over, as many as came at once."""
        self._confirmed[channel] = confirmed

    def forget(self, channel: int) -> None:
        """Tell nobody any more of what comes by this channel."""
        self._confirmed.pop(channel, None)
        for key in [key for key in self._delivered if key[0] == channel]:
            del self._delivered[key]

    def write(self, frames: Sequence[bytes]) -> None:
        """Send frames that are written already."""
        if frames:
            self._output_marshaled_frames([b"".join(frames)])

    def _on_stream_connected(self) -> None:
        self._transport._MAX_RECV_BYTES = _READ  # noqa: SLF001  # the buffer size has no public name
        super()._on_stream_connected()

    def _on_data_available(self, data_in: bytes) -> None:
        """Read every frame that is complete; pika's own way copies what is left behind each."""
        self.bytes_received += len(data_in)
        buffer = self._frame_buffer + data_in if self._frame_buffer else data_in
        if len(buffer) < self._wanted:
            self._frame_buffer = buffer
            return
        self._wanted = 0
        self._frame_buffer = b""
        at = self._read_frames(buffer)
        self._tell()
        self._frame_buffer = buffer[at:] + self._frame_buffer

    def _read_frames(self, buffer: bytes) -> int:
        """Take frames off the buffer as far as they are complete; gives where the rest begins."""
        at = 0
        while (end := frame_end(buffer, at)) is not None:
            if is_delivery(buffer, at, end):
                arrival = read_delivery(buffer, at, end, self._body_max_length)
                if isinstance(arrival, int):
                    self._wanted = arrival - at
                    return at
                if arrival is not None and self._keep(
                    self._delivered.get((channel_of(buffer, at), arrival.consumer_tag)), arrival.delivery
                ):
                    at = arrival.end
                    continue
            elif (found := read_confirm(buffer, at, end)) is not None:
                channel, confirm = found
                if self._keep(self._confirmed.get(channel), confirm):
                    at = end
                    continue
            self._tell()
            self._process_frame(decode_frame(buffer[at:end])[1])
            at = end
        if len(buffer) - at >= _PROTOCOL_HEADER and buffer[at : at + 4] == b"AMQP":
            # A broker of another protocol says so, and closes.
            return len(buffer)
        return at

    def _keep(self, told: Callable[[Sequence[Any]], None] | None, what: Delivery | Confirm) -> bool:
        if told is None:
            return False
        if told is not self._told:
            self._tell()
            self._told = told
        self._untold.append(what)
        return True

    def _tell(self) -> None:
        told, untold = self._told, self._untold
        if told is not None:
            self._told, self._untold = None, []
            told(untold)
