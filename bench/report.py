"""The results as tables in Markdown: for the terminal, and for docs/performance.md."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_PARTS = ("worker", "postgresql", "rabbitmq")
_LOADS = {"tenth": "a tenth", "half_load": "half", "nine_tenths": "nine tenths"}


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Give each table by its name; `results` is as it comes from the file."""
    return {
        "machine": _machine(results),
        "bars": _bars(results),
        "throughput": _throughput(results),
        "ratios": _ratios(results),
        "prefetch": _prefetch(results),
        "profile": _profile(results),
        "latency": _latency(results),
        "growth": _growth(results),
        "ranges": _ranges(results),
        "memory": _memory(results),
    }


def _machine(results: Mapping[str, Any]) -> str:
    machine = results["machine"]
    rows = [
        ("measured", f"{results['measured_at'][:10]}, plan `{results['plan']}`, {results['minutes']} minutes"),
        ("processor", f"{machine['cores']} cores, {machine['cpu']}"),
        ("memory", f"{machine['memory_gib']} GiB"),
        ("disk", f"{machine['fsyncs_per_second']:,} fsyncs/s, one after the other"),
        ("software", f"{machine['system']}, Python {machine['python']}"),
        ("servers", f"PostgreSQL {machine['postgresql']}, RabbitMQ {machine['rabbitmq']}, on the same machine"),
    ]
    return _table(("machine", ""), rows)


def _bars(results: Mapping[str, Any]) -> str:
    words = {True: "reached", False: "**missed**", None: "not measured in this plan"}
    rows = [
        (
            bar["measure"],
            f"{bar['direction']} {_number(bar['bar'])} {bar['unit']}",
            "" if bar["measured"] is None else _number(bar["measured"]),
            words[bar["reached"]],
        )
        for bar in results["bars"]
    ]
    return _table(("measure", "bar", "measured", ""), rows)


def _throughput(results: Mapping[str, Any]) -> str:
    rows = []
    for name, entry in results["throughput"].items():
        cpu = entry["cpu_seconds_per_1000"]
        load = "" if entry["form"] is None else f"{entry['form']}, {entry['taxpayers']:,}"
        rows.append(
            (
                f"`{name}`",
                entry["title"],
                load,
                f"{entry['invoices_per_second']:,.0f}",
                f"{entry['spread']:.0%}",
                *(f"{cpu[part]:.3f}" if part in cpu else "" for part in _PARTS),
                f"{entry['memory_mb']:.0f}" if entry["memory_mb"] else "",
            )
        )
    heads = ("name", "what", "form, taxpayers", "invoices/s", "spread", *(f"{part} CPU s" for part in _PARTS), "MB")
    return _table(heads, rows)


def _ratios(results: Mapping[str, Any]) -> str:
    return _table(("ratio", "times"), [(f"`{name}`", _number(value)) for name, value in results["ratios"].items()])


def _prefetch(results: Mapping[str, Any]) -> str:
    tried, chosen = results["prefetch"]["tried"], results["prefetch"]["chosen"]
    rows = [
        (
            f"`{name}`",
            *(f"{rate:,.0f}/s{' (taken)' if int(count) == chosen[name] else ''}" for count, rate in rates.items()),
        )
        for name, rates in tried.items()
    ]
    return _table(("worker", *(f"prefetch {count}" for count in next(iter(tried.values())))), rows)


def _profile(results: Mapping[str, Any]) -> str:
    shares = results["profile"]["textbook"]
    return _table(
        ("a textbook worker's time for one message", "share"),
        [(phase, f"{share:.0%}") for phase, share in shares.items()],
    )


def _latency(results: Mapping[str, Any]) -> str:
    latency = results["latency_ms"]
    rows = []
    for who, measured in (("Fuma", latency), ("textbook", latency["textbook"])):
        for name, words in _LOADS.items():
            if name in measured:
                told = measured[name]
                rows.append(
                    (
                        who,
                        f"{words} of {measured['capacity_per_second']:,.0f}/s",
                        f"{told['requests']:,}",
                        *(f"{told[share]:.1f}" for share in ("p50", "p99", "p99_9", "longest")),
                    )
                )
    rows.append(("one row", "median commit, alone", "", f"{latency['single_row_commit']:.2f}", "", "", ""))
    rows.append(("one message", "median quorum confirm, alone", "", f"{latency['quorum_confirm']:.2f}", "", "", ""))
    return _table(("who", "load", "requests", "p50 ms", "p99 ms", "p99.9 ms", "longest ms"), rows)


def _growth(results: Mapping[str, Any]) -> str:
    growth = results["growth"]
    whole, statements = growth["microseconds_an_invoice"], growth["microseconds_statements_alone"]
    rows = [
        (
            f"{int(numbers):,}",
            f"{cost:.0f}",
            f"{cost / whole['0']:.2f}",
            f"{statements[numbers]:.0f}",
            f"{statements[numbers] / statements['0']:.2f}",
        )
        for numbers, cost in whole.items()
    ]
    return _table(
        ("numbers before", "µs an invoice", "to empty", "µs, statements alone", "to empty"),
        rows,
    )


def _ranges(results: Mapping[str, Any]) -> str:
    rows = [
        (f"{int(count):,}", f"{costs['used_up']:.0f}", f"{costs['open']:.0f}")
        for count, costs in results["growth"]["ranges"].items()
    ]
    return _table(("ranges of one stock", "µs an invoice, used up before", "µs an invoice, all open"), rows)


def _memory(results: Mapping[str, Any]) -> str:
    memory = results["memory_mb"]
    return _table(
        ("invoices", "peak MB", "second quarter MB", "last quarter MB", "growth"),
        [
            (
                f"{memory['invoices']:,}",
                f"{memory['peak']:.0f}",
                f"{memory['early']:.0f}",
                f"{memory['late']:.0f}",
                f"{memory['growth']:.1%}",
            )
        ],
    )


def _number(value: float) -> str:
    """Three digits that count."""
    if value >= 100:  # noqa: PLR2004 -- three digits stand before the point
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
