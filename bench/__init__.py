"""The benchmark: Fuma beside its peers and its ceilings, on servers of its own, in one call.

`make bench` measures all of docs/performance.md; `make bench-quick` its ratios, within five minutes.
"""
