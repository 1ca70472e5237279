"""`fuma drill new-year`: the whole night with everything embedded, told, and judged."""

from pathlib import Path

from tests.support.outside.processes import Fuma


def test_new_years_night_ends_well_and_is_told(tmp_path: Path) -> None:
    told = Fuma(tmp_path).ok("drill", "new-year", "--seed", "3")

    for line in (
        "no-old-number-on-a-new-year-date",
        "no-new-number-on-an-old-year-date",
        "who-waited-at-midnight-is-served",
        "midnight in China",
        "ranges expired",
        "checks hold",
    ):
        assert line in told
    assert "BROKEN" not in told
    assert "NO ROWS" not in told
    assert [each.name for each in (tmp_path / "home").iterdir() if each.suffix == ".log"] == []
