"""The reckoning of numbers' lives: what binding, uploads and claims ahead brought, against what was asked for."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.events import BindingRefused, OutcomeRefused
from schemas.topics import Topic
from worker.demo.audience import Audience, Move
from worker.demo.checks import Check, check_of
from worker.demo.hand import Order
from worker.demo.story import Course
from worker.demo.uploads import Report

#: In which state each event leaves a number, and whether a request has it then.
_STATES = {
    Topic.NUMBER_BOUND: "bound",
    Topic.NUMBER_UNBOUND: "available",
    Topic.NUMBER_ASSIGNED: "assigned",
    Topic.NUMBER_HELD: "held",
    Topic.NUMBER_USED: "used",
    Topic.NUMBER_RELEASED: "available",
    Topic.NUMBER_VOIDED: "voided",
}
_ON_A_REQUEST = {"assigned", "held", "used"}
_BINDING = {Topic.NUMBER_BOUND, Topic.NUMBER_UNBOUND}


@dataclass(frozen=True, slots=True)
class Lives:
    """What there is to hold against each other."""

    course: Course
    audience: Audience
    #: Rows of `fuma numbers`.
    numbers: Sequence[Mapping[str, object]]

    def reckon(self) -> list[Check]:
        """Check everything that must hold of the numbers' lives."""
        return [
            self._numbers_stand_on_one_request(),
            self._numbers_are_where_their_events_left_them(),
            self._bindings_are_answered(),
            self._manual_numbers_are_where_a_hand_put_them(),
            self._outcomes_are_answered(),
            self._old_copies_get_nothing(),
            self._released_numbers_are_given_again(),
            self._claims_are_ahead(),
        ]

    def _numbers_stand_on_one_request(self) -> Check:
        """A number goes to a request as often as it came back, and once more; a used or voided one came back never."""
        wrong = []
        lives = lives_of_numbers(self.audience.moves)
        for number, moves in lives.items():
            times = Counter(move.topic for move in moves)
            out = times[Topic.NUMBER_ASSIGNED] - times[Topic.NUMBER_RELEASED]
            ended = times[Topic.NUMBER_USED] + times[Topic.NUMBER_VOIDED]
            if out not in {0, 1} or ended > out:
                wrong.append(number)
        return check_of("number-stands-on-one-request", len(lives), wrong)

    def _numbers_are_where_their_events_left_them(self) -> Check:
        """`fuma numbers` has each number in the state of its last event, on the request that this names."""
        states = states_after(self.audience.moves)
        stored = {
            str(row["invoice_number"]): (str(row["status"]), _text(row["issue_request_id"])) for row in self.numbers
        }
        untouched = ("available", None)
        wrong = [
            number for number in states.keys() | stored.keys() if stored.get(number) != states.get(number, untouched)
        ]
        return check_of("number-is-where-its-events-left-it", len(stored), wrong)

    def _bindings_are_answered(self) -> Check:
        orders = self.course.orders
        wrong = [order.binding_id for order in orders if not self._is_answered(order.binding_id, order)]
        return check_of("binding-is-answered", len(orders), wrong, expected=bool(orders))

    def _manual_numbers_are_where_a_hand_put_them(self) -> Check:
        by_hand = self.course.by_hand
        wrong = [
            number
            for key, number in by_hand.items()
            if {each.told.invoice_number for each in self.audience.assigned.get(key, ())} != {number}
        ]
        return check_of("manual-number-as-told-by-hand", len(by_hand), wrong, expected=bool(by_hand))

    def _outcomes_are_answered(self) -> Check:
        reports = self.course.reports
        wrong = [report.outcome_id for report in reports if not self._is_answered(report.outcome_id, report)]
        return check_of("outcome-is-answered", len(reports), wrong)

    def _old_copies_get_nothing(self) -> Check:
        """Of each request that lost its number, an old message is refused."""
        refused = Counter(each.issue_request_id for each in self.audience.refused_copies.values())
        asked = Counter(each.issue_request_id for each in self.course.anew)
        wrong = (refused - asked) + (asked - refused)
        return check_of("old-message-gets-no-new-number", asked.total(), wrong.elements(), expected=bool(asked))

    def _released_numbers_are_given_again(self) -> Check:
        """Every released number stands on another invoice at the end, for it is taken before the range goes on."""
        released = {move.number for move in self.audience.moves if move.topic is Topic.NUMBER_RELEASED}
        states = states_after(self.audience.moves)
        wrong = [number for number in released if states[number][0] == "available"]
        return check_of("released-number-is-used-again", len(released), wrong, expected=bool(self.course.anew))

    def _claims_are_ahead(self) -> Check:
        """At a calm pace each fall to low led to one claim, before the stock ran out."""
        ahead = self.course.ahead
        if ahead is None:
            return check_of("claimed-before-it-ran-out", 0, (), expected=False)
        # The first claim is for the stock that never had a number.
        is_right = ahead.ran_out == 0 and ahead.claims == ahead.low + 1
        return check_of(
            "claimed-before-it-ran-out",
            ahead.low,
            () if is_right else (ahead.organization,),
            expected=ahead.expected,
        )

    def _is_answered(self, key: str, asked: Order | Report) -> bool:
        """Whether what was asked got its event, however often it was asked, of this number and request."""
        replies = self.audience.replies.get(key, [])
        return (
            {reply.topic for reply in replies} == {asked.becomes}
            and len({reply.event_id for reply in replies}) == 1
            and all(
                reply.told.invoice_number == asked.number
                and reply.told.issue_request_id == asked.issue_request_id
                and _reason(reply.told) == asked.refusal
                for reply in replies
            )
        )


def lives_of_numbers(moves: Sequence[Move]) -> dict[str, list[Move]]:
    """Give each number's moves in their order."""
    lives: defaultdict[str, list[Move]] = defaultdict(list)
    for move in moves:
        lives[move.number].append(move)
    return lives


def states_after(moves: Sequence[Move]) -> dict[str, tuple[str, str | None]]:
    """Give for each number its state after its last move, and the request that has it then.

    A number that was bound and assigned at once may have been told in either order: assigned is what it is.
    """
    states: dict[str, tuple[str, str | None]] = {}
    for number, its_moves in lives_of_numbers(moves).items():
        last = next((move for move in reversed(its_moves) if move.topic not in _BINDING), its_moves[-1])
        state = _STATES[last.topic]
        states[number] = (state, last.issue_request_id if state in _ON_A_REQUEST else None)
    return states


def _reason(told: object) -> object:
    return told.reason if isinstance(told, BindingRefused | OutcomeRefused) else None


def _text(value: object) -> str | None:
    return None if value is None else str(value)
