"""Event ids: each the same at every repetition of its fact, whoever tells it.

Most ids are UUIDs of version 5, made from what identifies the fact. That of a change of one number is of version 8 and
spells the fact, so that the database can compare it with the row that names it (`ck_numbers_event`), and people can
read the number in it:

    26447000-0001-8234-8567-890002a1b2c3
    PPPPPPSS SSSS  SSS  SSS SSttttdddddd

P and S are the digits of prefix and sequence, t is the step and d a digest of the rest, both in hexadecimal digits.
"""

from collections.abc import Sequence
from functools import lru_cache
from uuid import UUID, uuid5
from zlib import crc32

from db.records import RequestKey, TakenNumber
from schemas.topics import Topic

#: The namespace of all our event ids; changing it would give every fact a new id.
_FACTS = UUID("6f1d2a0c-54a7-5b43-9d0a-3b1d6c7f2e11")
#: The last two digits of numbers, written; and the bits of a digest that an id has room for.
_PLACES = [f"{place:02}" for place in range(100)]
_DIGEST = 0xFFFFFF


class EventIds:
    """Makes the ids of the events of one source."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._digest_of_assigned = self._digest_of(Topic.NUMBER_ASSIGNED)

    def of_fact(self, topic: Topic, fact: Sequence[object]) -> UUID:
        """Make the id of the event that tells of a fact: the same for the same fact, at whatever time and place."""
        return uuid5(_FACTS, f"{self._source} {topic} {fact!r}")

    def of_change(self, topic: Topic, taxpayer_id: str, taken: TakenNumber, asked_by: str) -> UUID:
        """Make the id of the event that tells of one change of one number.

        `asked_by`: which request, report or binding it followed. A restored database takes a step of a number once
        more, and what another one made of it then must not bear the id of what is forgotten.
        """
        return UUID(_spelled(taken, crc32(f"{taxpayer_id} {asked_by}".encode(), self._digest_of(topic))))

    def of_assignment(self, key: RequestKey, taken: TakenNumber) -> str:
        """Write the id of the event that tells of an assignment: what `of_change` makes, for every invoice."""
        return _spelled(taken, crc32(f"{key.taxpayer_id} {key.issue_request_id}".encode(), self._digest_of_assigned))

    def _digest_of(self, topic: Topic) -> int:
        return crc32(f"{self._source} {topic} ".encode())


def _spelled(taken: TakenNumber, digest: int) -> str:
    hundred, place = divmod(taken.sequence, len(_PLACES))
    return f"{_beginning(taken.prefix, hundred)}{_PLACES[place]}{taken.step << 24 | digest & _DIGEST:010x}"


@lru_cache(maxsize=4096)
def _beginning(prefix: int, hundred: int) -> str:
    """Write how the ids of the changes of a hundred numbers begin; they are taken one behind the other."""
    digits = f"{prefix:06}{hundred:012}"
    return f"{digits[:8]}-{digits[8:12]}-8{digits[12:15]}-8{digits[15:]}-"
