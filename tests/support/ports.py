"""Ports for servers that are to come back on them."""

import random
import socket

#: Below those that the system gives to outgoing connections: one of these may take a server's port while it is down.
_LASTING = range(20_000, 32_000)

#: Not what tests seed: processes that test side by side would all choose the same.
_chance = random.SystemRandom()


def lasting_ports(count: int) -> list[int]:
    """Give so many free ports of this machine; raises `OSError` where too few are to be found."""
    found: list[int] = []
    for port in _chance.sample(_LASTING, len(_LASTING)):
        if len(found) == count:
            return found
        with socket.socket() as listening:
            try:
                listening.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
    message = f"{count} free ports were wanted, {len(found)} are there"
    raise OSError(message)
