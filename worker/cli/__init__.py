"""The command line: what operators and schedulers have in hand; every command is a thin way into another room."""
