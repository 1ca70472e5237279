"""Rules: claims and LeQi's answers, time and New Year, operators, gateways."""

from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from hypothesis import strategies as st

from tests.support.core import asked
from tests.support.core.world import Told
from tests.support.life.asking import Asking
from tests.support.life.authority import MOODS
from tests.support.life.cast import CHINA, FIRST, ORGANIZATIONS, SECOND, Stock
from tests.support.life.claiming import Ask
from tests.support.life.machine import PICK, choose, rule
from worker.leqi.port import ListedRange, Throttled
from worker.pausing import PausingRefusedError
from worker.releasing import ReleaseRefusedError

_MOODS = st.sampled_from(("grant",) * 8 + ("lose", "unknown", "overlap", "short") + MOODS)
_CALM_MOODS = st.sampled_from(("grant", "grant", "lose", "unknown", "refuse"))
_TAXPAYERS = st.sampled_from((FIRST, FIRST, SECOND))
_NO_RANGE = UUID(int=0)


class Life(Asking):
    """The whole machine."""

    def open(self, opened: int) -> None:
        """See `Machine.open`: manual numbers of two taxpayers, automatic ones of one or two, requests for both."""
        for code in ("A", "D"):
            self._claim(Ask(self.next_id("C"), code, 2 + opened))
        self._issue([self._new(code) for code in "AAADDC"[: 2 + opened]])
        self.play(self.hands.look_for_stocks, self.model.look_for_stocks)
        self.everything_agrees()
        while self.model.due_claims():
            self._call("grant")

    # Claims.

    @rule(
        weight=3,
        code=st.sampled_from((*ORGANIZATIONS, "nobody")),
        quantity=st.sampled_from((1, 2, 3, 4, 2, 3, 0, 1001)),
    )
    def claim(self, code: str, quantity: int) -> None:
        """An operator claims numbers by hand."""
        self._claim(Ask(self.next_id("C"), code, quantity))

    @rule(weight=3, when=lambda self: self.model.claims, pick=PICK, what=st.integers(0, 4))
    def claim_again(self, pick: int, what: int) -> None:
        """A claim id that was used before, mostly for the same; also that of an automatic claim."""
        known = choose(self.model.claims, pick)
        ask = Ask(self.next_id("C"), "A", 2)
        if known is not None:
            code = known.organization or next(c for c, each in ORGANIZATIONS.items() if each == known.stock[:2])
            ask = Ask(known.id, code, known.quantity)
        if what == 0:
            ask = ask._replace(quantity=ask.quantity + 1)
        if what == 1:
            ask = ask._replace(organization={"A": "B", "B": "A", "C": "A", "D": "E", "E": "D"}[ask.organization])
        self._claim(ask)

    def _claim(self, ask: Ask) -> None:
        item = asked.claim(ask.claim_id, organization=ask.organization, quantity=ask.quantity)
        self.play(lambda: self.hands.claim([item]), lambda: self.model.claim_by_hand([ask]))

    @rule(
        weight=4, when=lambda self: self.stock_events, picks=st.lists(PICK, min_size=1, max_size=2), late=st.booleans()
    )
    def hear(self, picks: list[int], late: bool) -> None:  # noqa: FBT001 -- drawn
        """A worker hears that stocks ran low or out: just now, or long ago."""
        told = self.stock_events if late else self.stock_events[-3:]
        self._hear([each for each in (choose(told, pick) for pick in picks) if each is not None])

    @rule(weight=9, when=lambda self: self.late_events(), pick=PICK)
    def hear_late(self, pick: int) -> None:
        """A worker hears once more of an episode that is over, of a stock that needs a claim in its present one."""
        told = choose(self.late_events(), pick)
        self._hear([] if told is None else [told])

    def _hear(self, heard: list[Told]) -> None:
        items = [asked.item(each.topic, each.data) for each in heard]
        events = [(_stock(each), each.data["episode"]) for each in heard]
        self.play(lambda: self.hands.hear(items), lambda: self.model.hear(events))

    def late_events(self) -> list[Told]:
        """Events of episodes that are over, whose stocks would claim now if they were of the present one."""
        hungry = {
            stock: shelf.episode
            for stock, shelf in self.model.shelves.items()
            if shelf.level in {"low", "exhausted"} and not any(each.is_open_for(stock) for each in self.model.claims)
        }
        return [
            each for each in self.stock_events if hungry.get(_stock(each), each.data["episode"]) != each.data["episode"]
        ]

    @rule(weight=5)
    def look_for_stocks(self) -> None:
        """A worker looks for stocks that need a claim and have none."""
        self.play(self.hands.look_for_stocks, self.model.look_for_stocks)

    @rule(weight=12, when=lambda self: self.model.due_claims(), mood=_MOODS)
    def call(self, mood: str) -> None:
        """A worker makes a call that is due, and LeQi answers as it likes."""
        self.tick()
        self._call(mood)

    @rule(weight=3, mood=_MOODS)
    def call_for_hungry(self, mood: str) -> None:
        """A worker finds a stock without a claim, claims, and calls."""
        self.play(self.hands.look_for_stocks, self.model.look_for_stocks)
        self.everything_agrees()
        self._call(mood)

    @rule(
        weight=6,
        when=lambda self: any(each.is_undecided for each in self.model.claims),
        replays=st.integers(2, 5),
        mood=st.sampled_from(("unknown", "lose", "refuse")),
        days=st.sampled_from((0, 0, 0, 8)),
    )
    def outage(self, replays: int, mood: str, days: int) -> None:
        """LeQi cannot be reached for a while, or for days; claims are asked again whenever they are due."""
        for _ in range(replays):
            undecided = [each.due[1] for each in self.model.claims if each.is_undecided]
            if undecided:
                self._wait(max(self.now, min(undecided), self.model.throttled_until))
                self._call(mood)
                self.everything_agrees()
        if days:
            self._leap(self.now + timedelta(days=days), mood)

    def _call(self, mood: str) -> bool:
        self.hands.authority.mood = mood
        due = self.model.due_claims()
        told = self.hands.call()
        called = bool(self.hands.authority.log)
        assert called or not due, "claims are due, and none is called for"
        self.compare(told, self._answer_calls)
        return called

    def _answer_calls(self) -> None:
        log, self.hands.authority.log = self.hands.authority.log, []
        for call, answer in log:
            claim = self.claim_of_serial(call.business_serial)
            assert claim.quantity == call.quantity, "a replay asks for another quantity"
            assert claim.is_undecided, "a settled claim is asked again"
            assert claim.due[0] <= self.now, "a claim is asked again before its time"
            assert self.model.throttled_until <= self.now, "a call is made while LeQi throttles"
            self.model.answer(claim, answer)

    # Time.

    @rule(weight=3, seconds=st.sampled_from((1, 2, 5, 12, 70, 350, 660, 3600)))
    def time_passes(self, seconds: int) -> None:
        """A while passes."""
        self.hands.clock.advance(seconds=seconds)
        self.play(list, lambda: None)

    @rule(weight=3, hours=st.integers(5, 20), mood=_CALM_MOODS)
    def night_passes(self, hours: int, mood: str) -> None:
        """Hours pass, in which workers asked for the claims that were due."""
        self._leap(self.now + timedelta(hours=hours), mood)

    @rule(weight=3, seconds=st.sampled_from((-61, -1, 0, 1, 90)), mood=_CALM_MOODS)
    def midnight_comes(self, seconds: int, mood: str) -> None:
        """China's midnight is near, or just over: that of New Year, or of the end of its grace, too."""
        tomorrow = self.now.astimezone(CHINA).date() + timedelta(days=1)
        midnight = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=CHINA)
        self._leap(max(midnight + timedelta(seconds=seconds), self.now), mood)

    def _wait(self, until: datetime) -> None:
        self.hands.clock.set(until)
        self.play(list, lambda: None)

    def _leap(self, until: datetime, mood: str) -> None:
        self._wait(until)
        while self.model.due_claims():
            self._call(mood)

    @rule(weight=10, when=lambda self: any(each.stock.year < self.model.year for each in self.model.ranges))
    def expire(self) -> None:
        """Old ranges expire."""
        self.play(self.hands.expire, self.model.expire)

    @rule(weight=5, when=lambda self: len(self.model.claimable_years()) > 1 or self.model.year > 2026)
    def open_new_year(self) -> None:
        """The new year's stocks are opened."""
        self.play(self.hands.open_new_year, self.model.open_new_year)

    @rule(weight=5, when=lambda self: any(each.state == "waiting" for each in self.model.requests.values()))
    def end_overdue(self) -> None:
        """Requests that waited too long are ended."""
        self.play(self.hands.end_overdue, self.model.end_overdue)

    @rule(weight=4, when=lambda self: self.has("assigned", "held"))
    def tell_overdue(self) -> None:
        """Outcomes that did not come are told of."""
        self.play(self.hands.tell_overdue, self.model.tell_overdue)

    # Operators.

    @rule(weight=3, when=lambda self: len(self.model.paused) == 0, taxpayer_id=_TAXPAYERS, asking=st.integers(0, 2))
    def pause(self, taxpayer_id: str, asking: int) -> None:
        """An operator pauses a taxpayer, and somebody asks for a number meanwhile."""
        self.play(lambda: self.hands.pause(taxpayer_id), lambda: self.model.pause(taxpayer_id))
        codes = [code for code, (owner, _) in ORGANIZATIONS.items() if owner == taxpayer_id]
        for code in codes[:asking]:
            self.everything_agrees()
            self._issue([self._new(code)])

    @rule(weight=14, when=lambda self: self.model.paused, taxpayer_id=_TAXPAYERS, often=st.booleans())
    def resume(self, taxpayer_id: str, often: bool) -> None:  # noqa: FBT001 -- drawn
        """An operator resumes a taxpayer: one that is paused, where there is one."""
        paused = taxpayer_id if often else choose(sorted(self.model.paused), 0) or taxpayer_id
        refused = False

        def real() -> list[Told]:
            nonlocal refused
            try:
                return self.hands.resume(paused)
            except PausingRefusedError:
                refused = True
                return []

        def model() -> None:
            assert self.model.resume(paused) is not refused

        self.play(real, model)

    @rule(weight=3, taxpayer_id=_TAXPAYERS, days=st.sampled_from((-1, 0, 1, 1)), pick=PICK)
    def retire(self, taxpayer_id: str, days: int, pick: int) -> None:
        """A taxpayer moved to another province: mostly one that has bound a number, where there is one."""
        bound = [each.range.stock.taxpayer_id for each in self.model.numbers() if each.state == "bound"]
        moved = (choose(bound, pick) if pick % 4 else None) or taxpayer_id
        before = self.now.astimezone(CHINA).date() + timedelta(days=days)
        self.play(lambda: self.hands.retire(moved, before), lambda: self.model.retire(moved, before))

    @rule(weight=18, when=lambda self: any(each.claim is None for each in self.model.ranges), pick=PICK)
    def release(self, pick: int) -> None:
        """An operator releases a foreign range, or tries it with another."""
        foreign = [each for each in self.model.ranges if each.status == "foreign"]
        found = choose(foreign if foreign and pick % 5 else self.model.ranges, pick)
        range_id = None if found is None else self.seen.range_id(found.first, found.status)
        refused = False

        def real() -> list[Told]:
            nonlocal refused
            try:
                return self.hands.release(range_id or _NO_RANGE)
            except ReleaseRefusedError:
                refused = True
                return []

        def model() -> None:
            assert (found is not None and self.model.release(found)) is not refused

        self.play(real, model)

    # Refreshing.

    @rule(
        weight=4,
        whom=st.sampled_from(("A", "A", "D", "all", "nobody")),
        pick=PICK,
        gateway=st.sampled_from(("all", "all", "fewer", "more", "more", "used", "longer", "away")),
        mood=_CALM_MOODS,
        again=st.integers(0, 4),
    )
    def refresh(self, whom: str, pick: int, gateway: str, mood: str, again: int) -> None:
        """A refresh, with a gateway that lists what was granted, or less, or more, or other."""
        self.tick()
        known = choose(sorted({name for _, name in self.model.refreshes}), pick)
        name = known if known is not None and again == 0 else self.next_id("F")
        listed: dict[str, list[ListedRange] | None] = {}
        self.hands.authority.mood = mood
        self.hands.listing.ranges_of = partial(self._list, listed, gateway, pick)
        item = asked.refresh(name, organization=None if whom == "all" else whom)
        taxpayers = {"A": [FIRST], "D": [SECOND], "all": sorted((FIRST, SECOND))}.get(whom, [])
        undecided = {
            taxpayer_id: [each for each in self.model.claims if each.is_undecided and each.stock[0] == taxpayer_id]
            for taxpayer_id in taxpayers
        }
        told = self.hands.refresh(item)
        log, self.hands.authority.log = self.hands.authority.log, []

        def model() -> None:
            for taxpayer_id in taxpayers:
                before = undecided[taxpayer_id]
                if (taxpayer_id, name) not in self.model.refreshes:
                    throttled = self.model.throttled_until > self.now
                    calls = [each for each in log if each[0].taxpayer_id == taxpayer_id]
                    assert len(calls) == (0 if throttled else len(before)), "each claim is replayed once"
                    for call, answer in calls:
                        assert not isinstance(answer, Throttled)
                        self.model.answer(self.claim_of_serial(call.business_serial), answer)
                self.model.refresh(taxpayer_id, name, len(before), listed.get(taxpayer_id))
            if not taxpayers:
                self._tell_nobody(name)

        self.compare(told, model)

    def _tell_nobody(self, name: str) -> None:
        empty = dict.fromkeys(
            ("ranges", "claimed", "remaining", "expired", "foreign", "resolved_claims", "unresolved_claims"), 0
        )
        nobody = dict.fromkeys(("first_number", "last_number", "quantity_here", "quantity_there"))
        self.model.tell(
            "range-refreshed",
            None,
            refresh_id=name,
            taxpayer_id=None,
            **empty,
            differences=[{"kind": "not-registered", **nobody}],
        )

    def _list(
        self,
        given: dict[str, list[ListedRange] | None],
        gateway: str,
        pick: int,
        taxpayer_id: str,
    ) -> list[ListedRange] | None:
        """List what was granted, or what the gateway makes of it."""
        listed = [
            ListedRange(
                grant.first_number, grant.last_number, grant.quantity, grant.quantity, None, taxpayer_id, serial
            )
            for serial, (call, grant) in self.hands.authority.grants.items()
            if call.taxpayer_id == taxpayer_id and len(grant.first_number) == len(grant.last_number)
        ]
        # Ranges of others stay listed.
        listed += [
            ListedRange(each.first, each.last, each.quantity, each.listed_unused or 0, None, taxpayer_id, None)
            for each in self.model.ranges
            if each.claim is None and each.stock.taxpayer_id == taxpayer_id
        ]
        match gateway:
            case "away":
                given[taxpayer_id] = None
                return None
            case "fewer" if listed:
                del listed[pick % len(listed)]
            case "longer" if listed:
                listed[-1] = _longer(listed[-1])
            case "more" | "used":
                year = self.model.year - (pick % 7 == 0)
                foreign = self.hands.authority.fresh(2, year, "72" if pick % 5 == 0 else "70")
                unused = 1 if gateway == "used" else 2
                listed.append(
                    ListedRange(foreign.first_number, foreign.last_number, 2, unused, None, taxpayer_id, None)
                )
            case _:
                pass
        given[taxpayer_id] = listed
        return listed


def _longer(listed: ListedRange) -> ListedRange:
    return ListedRange(
        listed.first_number,
        f"{int(listed.last_number) + 1:020}",
        listed.quantity + 1,
        listed.unused,
        None,
        listed.taxpayer_id,
        listed.business_serial,
    )


def _stock(told: Told) -> Stock:
    return Stock(told.data["taxpayer_id"], told.data["channel_mode"], told.data["year"])
