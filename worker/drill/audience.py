"""The audience of a drill: hears what that of the demo hears, and remembers when what was told happened."""

from datetime import UTC, datetime

from schemas.events import NumberRefused, RangeClaimed, RangeEnded, Told
from schemas.topics import Topic
from worker.demo.audience import Audience


class DrillAudience(Audience):
    """Keeps the refusals with their time, the claimed ranges, and the ranges that ended."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        #: Requests that were refused, each with when and why, by its key.
        self.refusals: dict[str, tuple[datetime, NumberRefused]] = {}
        self.ended: dict[str, RangeEnded] = {}
        self.ranges: dict[str, RangeClaimed] = {}
        self._time = datetime.min.replace(tzinfo=UTC)

    def _keep(self, topic: Topic, event: dict[str, object]) -> None:
        self._time = datetime.fromisoformat(str(event["time"]))
        super()._keep(topic, event)

    def _sort(self, topic: Topic, event_id: str, told: Told) -> None:
        super()._sort(topic, event_id, told)
        match told:
            case NumberRefused():
                self.refusals[told.issue_request_id] = (self._time, told)
            case RangeEnded():
                self.ended[told.range_id] = told
            case RangeClaimed():
                self.ranges[told.range_id] = told
            case _:
                pass  # The demo's audience has it.
