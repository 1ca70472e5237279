"""The fuzzing itself: so many cases of each kind, and what must hold of each."""

from collections import Counter
from collections.abc import Callable

import httpx

from tests.support.hostile.answers import CIPHER, check_answer, hostile_answer, hostile_page
from tests.support.hostile.dice import Dice
from tests.support.hostile.messages import hostile_message
from tests.support.hostile.promises import check_message
from worker.leqi.answers import judge
from worker.leqi.gateway import ChannelGateway
from worker.leqi.port import ListingError

_TAXPAYER = "91350100M000100Y43"


def fuzz_messages(cases: int, seed: int) -> Counter[str]:
    """Read so many hostile messages; gives how many were answerable, and how many refused for each reason."""

    def one(dice: Dice, seen: Counter[str]) -> None:
        decoded = check_message(*hostile_message(dice))
        seen["requests"] += len(decoded.items)
        seen.update(rejected.reason.value for rejected in decoded.rejected)

    return _each(cases, seed, one)


def fuzz_answers(cases: int, seed: int) -> Counter[str]:
    """Judge so many hostile answers to a claim; gives how many meant what."""

    def one(dice: Dice, seen: Counter[str]) -> None:
        answer = judge(*hostile_answer(dice), CIPHER)
        check_answer(answer)
        seen[type(answer).__name__.lower()] += 1

    return _each(cases, seed, one)


def fuzz_listings(cases: int, seed: int) -> Counter[str]:
    """Read so many hostile pages of a gateway's listing; gives how many were read and how many refused."""
    content = [b""]
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=httpx.ByteStream(content[0])))
    gateway = ChannelGateway("http://gateway.test", transport=transport)

    def one(dice: Dice, seen: Counter[str]) -> None:
        content[0] = hostile_page(dice)
        refusal = ""
        try:
            for listed in gateway.ranges(_TAXPAYER):
                assert "\x00" not in f"{listed.claimed_at}{listed.business_serial}"
        except ListingError as error:
            refusal = str(error)
        assert refusal.isprintable()
        seen["refused" if refusal else "read"] += 1

    seen = _each(cases, seed, one)
    gateway.close()
    return seen


def _each(cases: int, seed: int, one: Callable[[Dice, Counter[str]], None]) -> Counter[str]:
    seen: Counter[str] = Counter()
    for case in range(cases):
        try:
            one(Dice(seed, case), seen)
        except Exception as fault:
            fault.add_note(f"case {case} of seed {seed}")
            raise
        seen["cases"] += 1
    return seen
