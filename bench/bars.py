"""The bars that Fuma set itself, and whether a run reached them."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

#: How much more memory counts as flat: what allocators and caches move by themselves.
FLAT = 0.05


@dataclass(frozen=True, slots=True)
class Bar:
    """One measure with its bar."""

    measure: str
    #: `at least` or `at most`.
    direction: str
    bar: float
    unit: str
    #: None where the run did not measure it.
    measured: float | None

    @property
    def reached(self) -> bool | None:
        """Tell whether it is reached; None where it was not measured."""
        if self.measured is None:
            return None
        return self.measured >= self.bar if self.direction == "at least" else self.measured <= self.bar

    def as_json(self) -> dict[str, Any]:
        """Give it as the results file has it."""
        return {**asdict(self), "reached": self.reached}


def bars(results: Mapping[str, Any]) -> Iterator[Bar]:
    """Give every bar with what a run measured."""
    ratios, latency, memory = results["ratios"], results["latency_ms"], results["memory_mb"]
    yield Bar("single messages against the bare relay", "at least", 0.9, "times", ratios["single_to_relay"])
    yield Bar("single messages against the textbook worker", "at least", 20, "times", ratios["single_to_textbook"])
    yield Bar("batches of 100 against the bare relay", "at least", 2.5, "times", ratios["batch_to_relay"])
    yield Bar("p99 at half load", "at most", 100, "ms", latency["half_load"]["p99"])
    yield Bar(
        "p50 at a tenth of the load: at most 3 times a commit and two confirms",
        "at most",
        latency["tenth_allowed"],
        "ms",
        latency["tenth"]["p50"],
    )
    yield Bar(
        "cost of an invoice at 10 million numbers against an empty table",
        "at most",
        1.15,
        "times",
        results["growth"]["ten_million_to_empty"],
    )
    yield Bar("peak memory of a worker", "at most", 150, "MB", memory["peak"])
    yield Bar("growth of that memory from the second quarter to the last", "at most", FLAT, "share", memory["growth"])
