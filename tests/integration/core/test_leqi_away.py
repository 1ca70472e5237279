"""LeQi is away: calls are counted where they arrive, and are as rare as rule 8 has them."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.vocabulary import Environment
from tests.support.core.asked import claim, invoice
from tests.support.core.world import Core
from worker.leqi.client import LeqiClient

#: A call, and replays after 1, 2, 4, 8, 16, 32 and 60 s; then one every 10 minutes, less a fifth.
_QUICK = 8
_SLOW_SECONDS = 480
_HOUR = 3600


@contextmanager
def hanging_up(calls: list[int]) -> Iterator[str]:
    """Listen as a server that closes each connection as soon as it has come, and note each."""

    def attend(listener: socket.socket) -> None:
        while True:
            try:
                connection, (_, port) = listener.accept()
            except OSError:
                return
            calls.append(port)
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        attending = threading.Thread(target=attend, args=(listener,))
        attending.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            attending.join()


def test_an_hour_without_leqi_costs_few_calls_and_nothing_spins(core: Core) -> None:
    arrived: list[int] = []
    core.issue(invoice("R1"))
    core.request_claims(claim("C1"), claim("C2"))
    began = core.clock.now()
    with hanging_up(arrived) as url:
        client = LeqiClient(url, "D000001", bytes(16), Environment.SANDBOX)
        core.authority.will(*[client.claim] * 1000)
        for seconds in [5] * 36 + [30] * 114:
            core.claim_and_call()
            core.clock.advance(seconds=seconds)
        client.close()

    ages = [(core.clock.now() - at).total_seconds() for (at,) in core.rows("SELECT created_at FROM claims")]
    assert (core.clock.now() - began).total_seconds() == _HOUR
    # The client itself never tries a call twice: only a replay, with its intent stored, may.
    assert len(arrived) == len(core.authority.calls)
    assert len(arrived) <= sum(_QUICK + age / _SLOW_SECONDS for age in ages)
    assert set(core.statuses.values()) <= {"open", "unresolved"}
    assert {call.business_serial for call in core.authority.calls} == {
        serial for (serial,) in core.rows("SELECT business_serial FROM claims")
    }

    core.authority.script.clear()
    core.clock.advance(minutes=13)
    core.claim_and_call()
    assert core.statuses["C1"] == core.statuses["C2"] == "granted"
    assert core.value("SELECT count(*) FROM numbers WHERE issue_request_id = 'R1'") == 1
