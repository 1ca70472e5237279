"""What a worker counts, for Prometheus; the names are part of what dashboards and alerts rely on."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from schemas.topics import Topic

_BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


#: Figures that are older are not shown: no figure is better than one that nobody can rely on.
_OLDEST_FIGURES = 120.0


@dataclass(frozen=True, slots=True)
class StockFigures:
    """One stock (taxpayer, channel mode and year)."""

    taxpayer_id: str
    channel_mode: str
    year: int
    remaining: int
    #: None where nothing was taken in seven days.
    days_left: float | None
    waiting: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What the database holds at one moment, the same for every worker; ages in seconds, 0 where there is nothing."""

    #: The worst ones, those that somebody waits for and those that are empty first; `stocks_in_all` counts all.
    stocks: tuple[StockFigures, ...]
    stocks_in_all: int
    waiting: int
    waiting_oldest: float
    outbox: int
    outbox_oldest: float
    claims_open: int
    claims_unresolved: int
    claims_unresolved_oldest: float
    throttled: bool
    taken_at: float = field(default_factory=time.monotonic)


class Metrics:
    """The counters of one worker process, and what it saw last of the database."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        #: Whether the worker was ready, and what the database held, when somebody looked last (`worker.watching`).
        self.ready = False
        self.figures: Figures | None = None
        self.registry.register(_Seen(self))
        self._handled = Counter("fuma_requests_handled", "Requests handled", ["topic"], registry=self.registry)
        self._rejected = Counter("fuma_dead_letters", "Dead letters written", ["reason"], registry=self.registry)
        self._retries = Counter("fuma_retries", "Batches tried again", ["sqlstate"], registry=self.registry)
        self._published = Counter("fuma_events_published", "Events confirmed by the broker", registry=self.registry)
        self._unroutable = Counter("fuma_events_unroutable", "Messages nobody was bound for", registry=self.registry)
        self._paused = Gauge(
            "fuma_consuming_paused",
            "1 while a topic rests because its requests can't be handled",
            ["topic"],
            registry=self.registry,
        )
        self._degraded = Gauge(
            "fuma_input_degraded",
            "1 while most of what arrives for a topic can't be read",
            ["topic"],
            registry=self.registry,
        )
        self._shards = Gauge(
            "fuma_shards_served",
            "Shards whose deliveries come to this process",
            ["topic"],
            registry=self.registry,
        )
        self._batch = Histogram(
            "fuma_batch_requests",
            "Requests in one batch",
            ["topic"],
            buckets=_BATCH_SIZES,
            registry=self.registry,
        )
        self._seconds = Histogram(
            "fuma_batch_seconds",
            "From the last delivery of a batch to its commit",
            ["topic"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def watch_shards(self, topic: Topic, served: Callable[[], int]) -> None:
        """Tell from now on at how many shards of a topic this process is served."""
        self._shards.labels(topic.value).set_function(served)

    def handled(self, topic: Topic, requests: int, seconds: float) -> None:
        """Count a batch whose effect is committed."""
        self._handled.labels(topic.value).inc(requests)
        self._batch.labels(topic.value).observe(requests)
        self._seconds.labels(topic.value).observe(seconds)

    def rejected(self, reason: str) -> None:
        """Count a dead letter."""
        self._rejected.labels(reason).inc()

    def retried(self, sqlstate: str | None) -> None:
        """Count a batch that is tried again, by what the database said; "none" where it said nothing."""
        self._retries.labels(sqlstate or "none").inc()

    def paused(self, topic: Topic, *, paused: bool) -> None:
        """Note that a topic's requests can't be handled, or that they are again."""
        self._paused.labels(topic.value).set(paused)

    def input_degraded(self, topic: Topic, *, bad: bool) -> None:
        """Note that most of a topic's input can't be read, or that this is over."""
        self._degraded.labels(topic.value).set(bad)

    def published(self, events: int) -> None:
        """Count events of a message that the broker has confirmed."""
        self._published.inc(events)

    def unroutable(self, messages: int) -> None:
        """Count messages that came back because no queue is bound for them."""
        self._unroutable.inc(messages)


class _Seen(Collector):
    """Shows what was seen last, without looking: a scrape waits for nobody."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> Iterable[Metric]:
        """Promise nothing, so that nothing is collected before there is anything."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Give every figure, or none where the last ones are too old."""
        yield GaugeMetricFamily("fuma_ready", "1 while the worker is connected and goes on", self._metrics.ready)
        seen = self._metrics.figures
        if seen is None or time.monotonic() - seen.taken_at > _OLDEST_FIGURES:
            return
        for name, says, value in (
            (
                "fuma_figures_age_seconds",
                "Since the figures of the database were read",
                time.monotonic() - seen.taken_at,
            ),
            ("fuma_stocks", "Stocks of this year and the next; of the worst 200 each is shown", seen.stocks_in_all),
            ("fuma_waiting_requests", "Requests that wait for a number", seen.waiting),
            ("fuma_waiting_oldest_seconds", "Since the first of them waits", seen.waiting_oldest),
            ("fuma_outbox_messages", "Messages that the broker has not confirmed yet", seen.outbox),
            ("fuma_outbox_oldest_seconds", "Since the oldest of them was committed", seen.outbox_oldest),
            ("fuma_claims_open", "Claims under way", seen.claims_open),
            ("fuma_claims_unresolved", "Claims whose outcome nobody knows after three replays", seen.claims_unresolved),
            ("fuma_claims_unresolved_oldest_seconds", "Since the oldest was made", seen.claims_unresolved_oldest),
            ("fuma_leqi_throttled", "1 while LeQi wants no calls", seen.throttled),
        ):
            yield GaugeMetricFamily(name, says, float(value))
        yield from _of_stocks(seen.stocks)


def _of_stocks(stocks: Iterable[StockFigures]) -> Iterator[Metric]:
    labels = ["taxpayer_id", "channel_mode", "year"]
    remaining = GaugeMetricFamily("fuma_stock_remaining", "Numbers that a stock can give out", labels=labels)
    days_left = GaugeMetricFamily("fuma_stock_days_left", "Days that it lasts at last week's rate", labels=labels)
    waiting = GaugeMetricFamily("fuma_stock_waiting", "Requests that wait for it", labels=labels)
    for stock in stocks:
        values = [stock.taxpayer_id, stock.channel_mode, str(stock.year)]
        remaining.add_metric(values, stock.remaining)
        waiting.add_metric(values, stock.waiting)
        if stock.days_left is not None:
            days_left.add_metric(values, stock.days_left)
    yield from (remaining, days_left, waiting)
