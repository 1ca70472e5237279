"""An outsider's hands on Fuma: its commands, its broker, the authority's HTTP endpoints, and nothing else.

The acceptance tests know Fuma by its contract alone.
Nothing below imports `worker`, `db` or `schemas`, so that a check can't share a mistake with what it checks.
"""
