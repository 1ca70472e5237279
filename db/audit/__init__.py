"""The audit: what must hold of the rows, whatever happened, recomputed from the live data."""
