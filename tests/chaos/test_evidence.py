"""What the checker reads of the database is there: a change of the schema shows here, not after half an hour."""

from tests.support.chaos.evidence import read_tables
from tests.support.chaos.made_up import well


def test_every_table_can_be_read(database_url: str) -> None:
    assert read_tables(database_url).keys() == well().tables.keys()
