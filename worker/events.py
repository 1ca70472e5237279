"""The events that Fuma publishes, each with an id that is the same at every repetition of its fact.

Whoever tells a fact again, after a crash or because the request came again, tells it under the same id
(`worker.event_ids`).
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from json.encoder import encode_basestring as _quoted
from typing import NamedTuple
from uuid import UUID, uuid4

from db.records import Claim, GrantedRange, RequestKey, StockKey
from schemas.cloudevents import encode_event
from schemas.invoice_number import format_number
from schemas.reasons import Reason
from schemas.requests import NumberBindingRequested
from schemas.topics import Topic, event_type
from worker.event_ids import EventIds


class Event(NamedTuple):
    """An event ready to be sent: its topic and taxpayer give the routing key, its body is structured JSON."""

    topic: Topic
    taxpayer_id: str | None
    event_id: str
    body: bytes


class Number(NamedTuple):
    """A number with what an answer says of it; `event_id` is the id of the event that tells of this assignment."""

    prefix: int
    sequence: int
    range_id: UUID
    claim_mode: str
    assigned_at: datetime
    event_id: str


class EventWriter:
    """Writes events of one environment."""

    def __init__(self, environment: str) -> None:
        self._environment = environment
        self._source = f"/fuma/{environment}"
        self.ids = EventIds(self._source)
        self._begins_assigned = (
            f',"source":{_quoted(self._source)},"type":{_quoted(event_type(Topic.NUMBER_ASSIGNED))},'
        )
        self._ends_assigned = f',"environment":{_quoted(environment)}}}}}'

    def number_assigned(
        self,
        key: RequestKey,
        *,
        organization: str,
        issue_date: date,
        kind: str,
        number: Number,
        traceparent: str | None,
    ) -> Event:
        """The request holds this number.

        Written piece by piece, for every invoice, to what `encode_event` would write.
        """
        told_at = _told_at(number.assigned_at)
        trace = "" if traceparent is None else f'"traceparent":{_quoted(traceparent)},'
        body = (
            f'{{"specversion":"1.0","id":"{number.event_id}"{self._begins_assigned}"time":"{told_at}"'
            f',"datacontenttype":"application/json",{trace}"data":{{"issue_request_id":{_quoted(key.issue_request_id)}'
            f',"organization":{_quoted(organization)},"taxpayer_id":{_quoted(key.taxpayer_id)},"invoice_number":'
            f'"{format_number(number.prefix, number.sequence)}","issue_date":"{issue_date.isoformat()}"'
            f',"kind":"{kind}","range_id":"{_uuid_text(number.range_id)}","claim_mode":"{number.claim_mode}"'
            f',"assigned_at":"{told_at}"{self._ends_assigned}'
        )
        return Event(Topic.NUMBER_ASSIGNED, key.taxpayer_id, number.event_id, body.encode())

    def number_refused(
        self,
        issue_request_id: str,
        *,
        organization: str,
        taxpayer_id: str | None,
        reason: str,
        detail: str,
        now: datetime,
        traceparent: str | None,
    ) -> Event:
        """The request gets no number.

        A refusal is not remembered, each is a fact of its own: so its id is new every time.
        """
        return self._event(
            Topic.NUMBER_REFUSED,
            taxpayer_id,
            None,
            now,
            {
                "issue_request_id": issue_request_id,
                "organization": organization,
                "reason": reason,
                "detail": detail,
            },
            traceparent,
        )

    def of_binding(  # noqa: PLR0913 -- one argument for each thing that the event tells
        self,
        topic: Topic,
        request: NumberBindingRequested,
        taxpayer_id: str | None,
        *,
        event_id: UUID | None,
        at: datetime,
        traceparent: str | None,
        requested_by: str | None,
        refusal: Mapping[str, str] | None = None,
    ) -> Event:
        """What became of a request to bind or unbind; a refusal has its reason and detail, and no id that lasts."""
        data = {
            "binding_id": request.binding_id,
            "issue_request_id": request.issue_request_id,
            "organization": request.organization,
            "taxpayer_id": taxpayer_id,
            "invoice_number": request.number,
            "requested_by": requested_by,
            "at": _instant(at),
        }
        return self._event(topic, taxpayer_id, event_id, at, {**data, **(refusal or {})}, traceparent)

    def of_outcome(  # noqa: PLR0913 -- one argument for each thing that the event tells
        self,
        topic: Topic,
        *,
        outcome_id: str | None,
        issue_request_id: str,
        organization: str,
        taxpayer_id: str | None,
        invoice_number: str,
        event_id: UUID | None,
        at: datetime,
        traceparent: str | None = None,
        refusal: Mapping[str, str] | None = None,
    ) -> Event:
        """What became of a number by an upload's outcome, or by none; a refusal has no id that lasts."""
        data = {
            "outcome_id": outcome_id,
            "issue_request_id": issue_request_id,
            "organization": organization,
            "taxpayer_id": taxpayer_id,
            "invoice_number": invoice_number,
            "at": _instant(at),
        }
        return self._event(topic, taxpayer_id, event_id, at, {**data, **(refusal or {})}, traceparent)

    def range_exhausted(
        self,
        key: StockKey,
        *,
        episode: int,
        last_number: str | None,
        waiting: int,
        now: datetime,
    ) -> Event:
        """The stock ran out, for the `episode`-th time."""
        return self._event(
            Topic.RANGE_EXHAUSTED,
            key.taxpayer_id,
            (*key, episode),
            now,
            {
                "taxpayer_id": key.taxpayer_id,
                "channel_mode": key.channel_mode,
                "year": key.year,
                "episode": episode,
                "last_number": last_number,
                "waiting": waiting,
                "exhausted_at": _instant(now),
            },
        )

    def range_low(
        self,
        key: StockKey,
        *,
        episode: int,
        newest: UUID | None,
        remaining: int,
        threshold: int,
        days_left: float | None,
        now: datetime,
    ) -> Event:
        """The stock came down to its threshold; `episode` counts the times that it ran out before.

        Told once for each crossing: the newest range and the time are part of the id, for several ranges may come
        within one episode, and each arms it again.
        """
        return self._event(
            Topic.RANGE_LOW,
            key.taxpayer_id,
            (*key, episode, str(newest), _instant(now)),
            now,
            {
                "taxpayer_id": key.taxpayer_id,
                "channel_mode": key.channel_mode,
                "year": key.year,
                "episode": episode,
                "remaining": remaining,
                "threshold": threshold,
                "days_left": days_left,
            },
        )

    def range_claimed(self, claim: Claim, granted: GrantedRange, settled_at: datetime) -> Event:
        """A claim brought a range that may be used."""
        return self._event(
            Topic.RANGE_CLAIMED,
            claim.taxpayer_id,
            (claim.taxpayer_id, claim.claim_id),
            settled_at,
            {
                "claim_id": claim.claim_id,
                "claim_mode": claim.claim_mode,
                "organization": claim.organization if claim.claim_mode == "manual" else None,
                "taxpayer_id": claim.taxpayer_id,
                "range_id": str(granted.range_id),
                "first_number": format_number(granted.prefix, granted.first_sequence),
                "last_number": format_number(granted.prefix, granted.last_sequence),
                "quantity": granted.last_sequence - granted.first_sequence + 1,
                "year": granted.year,
            },
            claim.traceparent,
        )

    def claim_failed(  # noqa: PLR0913 -- one argument for each thing that the event tells
        self,
        claim_id: str,
        *,
        taxpayer_id: str | None,
        quantity: int,
        reason: str,
        detail: str,
        next_attempt_at: datetime | None,
        now: datetime,
        traceparent: str | None,
        remembered: bool,
    ) -> Event:
        """The claim brought nothing; `remembered` tells a claim that ended so from a request refused at once.

        A claim may end so twice: given up after a restore, and then found by a refresh with a grant that is invalid.
        """
        return self._event(
            Topic.CLAIM_FAILED,
            taxpayer_id,
            (taxpayer_id, claim_id, str(reason)) if remembered else None,
            now,
            _claim_trouble(claim_id, taxpayer_id, quantity, reason, detail, next_attempt_at),
            traceparent,
        )

    def claim_unresolved(
        self,
        claim: Claim,
        *,
        reason: str,
        detail: str,
        next_attempt_at: datetime,
        now: datetime,
    ) -> Event:
        """What became of the claim is not known yet; it goes on by itself at `next_attempt_at`.

        Told once when replays did not help, and at each throttling, which is a fact of its own.
        """
        occurrence = _instant(now) if reason == Reason.LEQI_THROTTLED else "replays"
        return self._event(
            Topic.CLAIM_UNRESOLVED,
            claim.taxpayer_id,
            (claim.taxpayer_id, claim.claim_id, reason, occurrence),
            now,
            _claim_trouble(claim.claim_id, claim.taxpayer_id, claim.quantity, reason, detail, next_attempt_at),
            claim.traceparent,
        )

    def range_ended(
        self,
        topic: Topic,
        taxpayer_id: str,
        granted: GrantedRange,
        *,
        unused: int,
        reason: str,
        now: datetime,
    ) -> Event:
        """A range is used no more: `range-expired` or `range-quarantined`."""
        return self._event(
            topic,
            taxpayer_id,
            (taxpayer_id, str(granted.range_id)),
            now,
            {
                "range_id": str(granted.range_id),
                "taxpayer_id": taxpayer_id,
                "year": granted.year,
                "first_number": format_number(granted.prefix, granted.first_sequence),
                "last_number": format_number(granted.prefix, granted.last_sequence),
                "unused": unused,
                "reason": reason,
            },
        )

    def range_refreshed(
        self,
        refresh_id: str,
        taxpayer_id: str | None,
        data: Mapping[str, object],
        *,
        answered_at: datetime,
        traceparent: str | None,
    ) -> Event:
        """A refresh of one taxpayer is done."""
        return self._event(
            Topic.RANGE_REFRESHED,
            taxpayer_id,
            None if taxpayer_id is None else (taxpayer_id, refresh_id),
            answered_at,
            {"refresh_id": refresh_id, "taxpayer_id": taxpayer_id, **data},
            traceparent,
        )

    def of_input(
        self,
        topic: Topic,
        watched: Topic,
        *,
        worker: str,
        counted: tuple[int, int],
        reason: str | None,
        at: datetime,
    ) -> Event:
        """One worker's input by the queue of `watched` is bad, or readable again; `counted` is unreadable, of."""
        unreadable, of = counted
        return self._event(
            topic,
            None,
            (watched.value, worker, _instant(at)),
            at,
            {
                "topic": watched.value,
                "worker": worker,
                "unreadable": unreadable,
                "of": of,
                "commonest_reason": reason,
                "at": _instant(at),
            },
        )

    def _event(
        self,
        topic: Topic,
        taxpayer_id: str | None,
        fact: Sequence[object] | UUID | None,
        time: datetime,
        data: Mapping[str, object],
        traceparent: str | None = None,
    ) -> Event:
        if fact is None:
            fact = uuid4()
        event_id = str(fact if isinstance(fact, UUID) else self.ids.of_fact(topic, fact))
        envelope: dict[str, object] = {
            "specversion": "1.0",
            "id": event_id,
            "source": self._source,
            "type": event_type(topic),
            "time": _instant(time),
            "datacontenttype": "application/json",
        }
        if traceparent is not None:
            envelope["traceparent"] = traceparent
        envelope["data"] = {**data, "environment": self._environment}
        return Event(topic, taxpayer_id, event_id, encode_event(envelope))


@lru_cache(maxsize=256)
def _told_at(at: datetime) -> str:
    return _instant(at)


@lru_cache(maxsize=4096)
def _uuid_text(value: UUID) -> str:
    return str(value)


def _claim_trouble(
    claim_id: str,
    taxpayer_id: str | None,
    quantity: int,
    reason: str,
    detail: str,
    next_attempt_at: datetime | None,
) -> dict[str, object]:
    return {
        "claim_id": claim_id,
        "taxpayer_id": taxpayer_id,
        "quantity": quantity,
        "reason": reason,
        "detail": detail,
        "next_attempt_at": None if next_attempt_at is None else _instant(next_attempt_at),
    }


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
