"""The worker's core with its neighbours replaced: a scripted authority, a recording broker, a clock set by hand."""
