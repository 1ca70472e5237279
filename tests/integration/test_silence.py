"""A connection over which nothing comes any more is given up, and the next one works."""

import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from db.engine import open_engine, sqlstate
from tests.support.chaos.proxy import Proxy, Way
from tests.support.postgres import PrivatePostgres

SILENCE = 1.0


@pytest.mark.parametrize("way", list(Way))
def test_a_silent_connection_is_given_up(postgres: PrivatePostgres, database_url: str, way: Way) -> None:
    with Proxy(postgres.port) as proxy:
        through = database_url.replace(f":{postgres.port}/", f":{proxy.port}/")
        engine = open_engine(through, application="test", silence=SILENCE)
        with engine.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
            proxy.stall(way)
            began = time.monotonic()
            with pytest.raises(OperationalError, match="has not answered for 1 s") as given_up:
                connection.execute(text("SELECT 2"))
            assert time.monotonic() - began > SILENCE
        assert sqlstate(given_up.value) is None
        proxy.heal()
        with engine.connect() as connection:
            assert connection.execute(text("SELECT 3")).scalar_one() == 3
            # Each statement has its own time: several short ones may take longer together.
            for _ in range(4):
                connection.execute(text("SELECT pg_sleep(0.4)"))
        engine.dispose()


def test_the_end_of_a_transaction_is_not_waited_for_either(postgres: PrivatePostgres, database_url: str) -> None:
    with Proxy(postgres.port) as proxy:
        through = database_url.replace(f":{postgres.port}/", f":{proxy.port}/")
        engine = open_engine(through, application="test", silence=SILENCE)
        with engine.connect() as connection:
            transaction = connection.begin()
            connection.execute(text("SELECT 1"))
            proxy.stall(Way.UP, Way.DOWN)
            with pytest.raises(OperationalError, match="has not answered"):
                transaction.commit()
        proxy.heal()
        engine.dispose()
