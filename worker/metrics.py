"""What a worker counts, for Prometheus; the names are part of what dashboards and alerts rely on."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from schemas.topics import Topic

_BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """The counters of one worker process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._handled = Counter("fuma_requests_handled", "Requests handled", ["topic"], registry=self.registry)
        self._rejected = Counter("fuma_dead_letters", "Dead letters written", ["reason"], registry=self.registry)
        self._retries = Counter("fuma_retries", "Batches tried again", ["sqlstate"], registry=self.registry)
        self._published = Counter("fuma_events_published", "Events confirmed by the broker", registry=self.registry)
        self._unroutable = Counter("fuma_events_unroutable", "Messages nobody was bound for", registry=self.registry)
        self._batch = Histogram(
            "fuma_batch_requests",
            "Requests in one transaction",
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

    def handled(self, topic: Topic, requests: int, seconds: float) -> None:
        """Count a batch whose transaction is committed."""
        self._handled.labels(topic.value).inc(requests)
        self._batch.labels(topic.value).observe(requests)
        self._seconds.labels(topic.value).observe(seconds)

    def rejected(self, reason: str) -> None:
        """Count a dead letter."""
        self._rejected.labels(reason).inc()

    def retried(self, sqlstate: str | None) -> None:
        """Count a batch that is tried again, by what the database said; "none" where it said nothing."""
        self._retries.labels(sqlstate or "none").inc()

    def published(self, events: int) -> None:
        """Count events of a message that the broker has confirmed."""
        self._published.inc(events)

    def unroutable(self, messages: int) -> None:
        """Count messages that came back because no queue is bound for them."""
        self._unroutable.inc(messages)
