"""`python -m worker` is `fuma`."""


def main() -> None:
    """Run the command line."""
    raise SystemExit("fuma: the command line is not built yet")


if __name__ == "__main__":
    main()
