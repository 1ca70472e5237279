"""The tax authority's side: who grants numbers, and who can list what was granted.

`port` says what the worker asks; `client` and `gateway` ask it of the real services.
"""
