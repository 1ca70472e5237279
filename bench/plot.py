"""The results as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, ScalarFormatter

mpl.use("agg")
# The same results make the same file.
mpl.rcParams["svg.hashsalt"] = "fuma"

_FUMA, _CEILING, _PEER = "#1f6f8b", "#b0b7bc", "#d98c4a"
_LOADS = {"tenth": "a tenth", "half_load": "half", "nine_tenths": "nine tenths"}


def draw(results: Mapping[str, Any], stem: Path) -> None:
    """Draw throughput, latency and growth into `stem`.png and `stem`.svg."""
    figure, axes = plt.subplots(1, 3, figsize=(17, 6.5), width_ratios=(2, 1.3, 1), layout="constrained")
    _throughput(axes[0], results)
    _latency(axes[1], results)
    _growth(axes[2], results)
    machine = results["machine"]
    figure.suptitle(
        f"Fuma on {machine['cores']} cores with PostgreSQL {machine['postgresql']} and RabbitMQ {machine['rabbitmq']}"
        f" beside it, {machine['fsyncs_per_second']:,} fsyncs/s (plan {results['plan']}, {results['measured_at'][:10]})"
    )
    figure.savefig(stem.with_suffix(".png"), dpi=110, metadata={"Software": None})
    figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
    plt.close(figure)


def _throughput(axes: Axes, results: Mapping[str, Any]) -> None:
    entries = sorted(results["throughput"].items(), key=lambda each: each[1]["invoices_per_second"])
    rates = [entry["invoices_per_second"] for _, entry in entries]
    lows = [entry["invoices_per_second"] - min(entry["rounds"]) for _, entry in entries]
    highs = [max(entry["rounds"]) - entry["invoices_per_second"] for _, entry in entries]
    colours = [_colour(name) for name, _ in entries]
    axes.barh([name for name, _ in entries], rates, xerr=(lows, highs), color=colours, ecolor="#444", capsize=3)
    axes.set_xscale("log")
    axes.set_xlabel("invoices/s: median, and the range of all rounds (logarithmic)")
    axes.set_title("Throughput: Fuma (blue), ceilings (grey), peers (orange)")
    axes.set_xlim(min(rates) / 3, max(rates) * 3)
    for place, (rate, high) in enumerate(zip(rates, highs, strict=True)):
        axes.text((rate + high) * 1.1, place, f"{rate:,.0f}", va="center", fontsize=8)


def _latency(axes: Axes, results: Mapping[str, Any]) -> None:
    latency = results["latency_ms"]
    for measured, colour, who in ((latency, _FUMA, "Fuma"), (latency["textbook"], _PEER, "textbook")):
        loads = [name for name in _LOADS if name in measured]
        for share, style in (("p50", "-"), ("p99", "--"), ("p99_9", ":")):
            values = [measured[name][share] for name in loads]
            label = f"{who} {share.replace('_', '.')}"
            axes.plot([_LOADS[name] for name in loads], values, style, color=colour, marker="o", label=label)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("milliseconds from intended publish to arrival (logarithmic)")
    axes.set_xlabel("share of each one's own capacity")
    axes.set_title("Latency, open loop")
    axes.legend(fontsize=8)


def _growth(axes: Axes, results: Mapping[str, Any]) -> None:
    costs = results["growth"]["microseconds_an_invoice"]
    axes.bar([f"{int(numbers):,}" for numbers in costs], list(costs.values()), color=_FUMA)
    axes.axhline(costs["0"] * 1.15, color="#444", linestyle="--", linewidth=1, label="1.15 times empty")
    axes.set_xlabel("numbers in the tables before")
    axes.set_ylabel("microseconds an invoice")
    axes.set_title("Growth")
    axes.legend(fontsize=8)


def _colour(name: str) -> str:
    if name.startswith("fuma"):
        return _FUMA
    return _CEILING if name.startswith(("relay", "statements", "pgbench")) else _PEER
