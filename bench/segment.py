"""A segment allocator in the style of Meituan's Leaf: numbers from memory, the database asked once a segment.

**It loses numbers**: what is left of a segment when the process dies is never given out, a request that comes twice
gets two numbers, and nobody can tell afterwards where a number went. It stands here for the speed that is to be had
by giving that up, on the wire of the bare relay.

    python -m bench.segment amqp://… postgresql://…
"""

import sys

import psycopg

from bench.load import Load, organization_code
from bench.relay import Relay
from bench.servers import Stage
from bench.wire import Request, answer, number_text, this_years_prefix

#: Numbers of one segment, Leaf's own default.
STEP = 1000


class Segments:
    """The segments in hand, one for each organisation."""

    def __init__(self, connection: psycopg.Connection) -> None:
        """Nothing is in hand yet."""
        self._connection = connection
        self._prefix = this_years_prefix()
        self._in_hand: dict[str, range] = {}

    def answer(self, body: bytes) -> bytes:
        """Answer a request with the next number in hand, taking the next segment where there is none."""
        request = Request.read(body)
        left = self._in_hand.get(request.organization) or self._take(request.organization)
        self._in_hand[request.organization] = left[1:]
        return answer(request, number_text(self._prefix, left[0]))

    def _take(self, organization: str) -> range:
        ((end,),) = self._connection.execute(
            "UPDATE segment_series SET max_id = max_id + %s WHERE organization = %s RETURNING max_id",
            (STEP, organization),
        ).fetchall()
        return range(end - STEP, end)


def prepare(stage: Stage, load: Load) -> None:
    """Make the allocator's table, with a row for each organisation."""
    with psycopg.connect(stage.database_url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE segment_series (organization text PRIMARY KEY, max_id bigint NOT NULL)")
        cursor.executemany(
            "INSERT INTO segment_series VALUES (%s, %s)",
            [(organization_code(taxpayer), taxpayer * 10_000_000_000) for taxpayer in range(load.taxpayers)],
        )


def main() -> None:
    """Work until SIGTERM."""
    with psycopg.connect(sys.argv[2], autocommit=True) as connection:
        Relay(sys.argv[1], Segments(connection).answer).run()


if __name__ == "__main__":
    main()
