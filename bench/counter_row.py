"""The counter-row peer: one row a series, locked from the first statement to the commit.

So do Odoo's gapless sequence (`ir_sequence`: `SELECT number_next … FOR UPDATE`) and Frappe's naming series
(`tabSeries`: `SELECT current … FOR UPDATE`): whoever wants a number of the series waits for the whole transaction of
who has the row. With plain SQL on one psycopg connection, so without the cost of an ORM.

    python -m bench.counter_row amqp://… postgresql://… PREFETCH
"""

import sys

import psycopg

from bench.load import Load, organization_code
from bench.one_by_one import OneByOne
from bench.servers import Stage
from bench.wire import Request, number_text, this_years_prefix


def assign(connection: psycopg.Connection, request: Request) -> str:
    """Give a request the next number of its organisation's series, in one transaction."""
    with connection.transaction():
        known = connection.execute(
            "SELECT number FROM counter_row_invoices WHERE organization = %s AND issue_request_id = %s",
            (request.organization, request.issue_request_id),
        ).fetchone()
        if known is not None:
            return str(known[0])
        ((prefix, sequence),) = connection.execute(
            "SELECT prefix, current FROM counter_row_series WHERE organization = %s FOR UPDATE",
            (request.organization,),
        ).fetchall()
        connection.execute(
            "UPDATE counter_row_series SET current = %s WHERE organization = %s",
            (sequence + 1, request.organization),
        )
        number = number_text(prefix, sequence + 1)
        connection.execute(
            "INSERT INTO counter_row_invoices (organization, issue_request_id, number, issue_date, kind, assigned_at)"
            " VALUES (%s, %s, %s, %s, %s, now())",
            (request.organization, request.issue_request_id, number, request.issue_date, request.kind),
        )
    return number


def prepare(stage: Stage, load: Load) -> None:
    """Make the peer's tables, with a series for each organisation."""
    with psycopg.connect(stage.database_url) as connection:
        connection.execute("""
            CREATE TABLE counter_row_series (organization text PRIMARY KEY, prefix integer NOT NULL,
                current bigint NOT NULL) WITH (fillfactor = 50);
            CREATE TABLE counter_row_invoices (organization text NOT NULL, issue_request_id text NOT NULL,
                number text NOT NULL UNIQUE, issue_date date NOT NULL, kind text NOT NULL,
                assigned_at timestamptz NOT NULL, PRIMARY KEY (organization, issue_request_id))
        """)
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO counter_row_series VALUES (%s, %s, %s)",
                [
                    (organization_code(taxpayer), this_years_prefix(), taxpayer * 10_000_000_000)
                    for taxpayer in range(load.taxpayers)
                ],
            )


def main() -> None:
    """Work until SIGTERM."""
    broker_url, database_url, prefetch = sys.argv[1:]
    with psycopg.connect(database_url, autocommit=True) as connection:
        OneByOne(broker_url, int(prefetch), lambda request: assign(connection, request)).work()


if __name__ == "__main__":
    main()
