"""Chaos: real workers under every disaster that their users know, and a checker that shares nothing with them.

`upstream` asks and listens, and writes down what it sent and what came; `stage` holds the servers and the workers;
`faults` breaks them by a seed; `evidence` gathers what was left, and `checker` compares it.
Nothing that sends, records or checks imports `worker`, `db` or `schemas`.
"""
