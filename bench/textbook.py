"""The textbook worker: an ORM session and `SELECT … FOR UPDATE` for each message.

The engine with its pool is made once, a session for each message, as SQLAlchemy's documentation has it.
A request that was answered before is answered with the number that it has.

    python -m bench.textbook amqp://… postgresql://… PREFETCH [PROFILE]

With a PROFILE, a file, it writes down where its time went.
"""

import cProfile
import pstats
import sys
from datetime import UTC, date, datetime
from pathlib import Path

from sqlalchemy import BigInteger, create_engine, insert, select
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from bench.load import Load, organization_code
from bench.one_by_one import OneByOne
from bench.servers import Stage
from bench.stock import RANGE_SIZE
from bench.wire import Request, number_text, this_years_prefix


class Base(DeclarativeBase):
    """The textbook's own tables, beside Fuma's."""


class NumberRange(Base):
    """A range of numbers with its cursor."""

    __tablename__ = "textbook_ranges"

    id: Mapped[int] = mapped_column(primary_key=True)
    organization: Mapped[str] = mapped_column(index=True)
    prefix: Mapped[int]
    next_sequence: Mapped[int] = mapped_column(BigInteger)
    last_sequence: Mapped[int] = mapped_column(BigInteger)


class Invoice(Base):
    """A request with its number: neither can stand here twice."""

    __tablename__ = "textbook_invoices"

    organization: Mapped[str] = mapped_column(primary_key=True)
    issue_request_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(unique=True)
    issue_date: Mapped[date]
    kind: Mapped[str]
    assigned_at: Mapped[datetime]


def open_sessions(database_url: str) -> sessionmaker[Session]:
    """Make the engine with its pool, and what makes sessions of it."""
    url = make_url(database_url).set(drivername="postgresql+psycopg")
    return sessionmaker(create_engine(url, pool_size=5), expire_on_commit=False)


def assign(sessions: sessionmaker[Session], request: Request) -> str:
    """Give a request its number, in one transaction."""
    with sessions.begin() as session:
        known = session.get(Invoice, (request.organization, request.issue_request_id))
        if known is not None:
            return known.number
        stock = session.scalars(
            select(NumberRange)
            .where(
                NumberRange.organization == request.organization,
                NumberRange.next_sequence <= NumberRange.last_sequence,
            )
            .order_by(NumberRange.id)
            .limit(1)
            .with_for_update()
        ).one()
        number = number_text(stock.prefix, stock.next_sequence)
        stock.next_sequence += 1
        session.add(
            Invoice(
                organization=request.organization,
                issue_request_id=request.issue_request_id,
                number=number,
                issue_date=request.issue_date,
                kind=request.kind,
                assigned_at=datetime.now(UTC).replace(tzinfo=None),  # noqa: TID251 -- a peer has no clock of Fuma's
            )
        )
        return number


def prepare(stage: Stage, load: Load) -> None:
    """Make the textbook's tables, with ranges enough for a load."""
    sessions = open_sessions(stage.database_url)
    with sessions.begin() as session:
        Base.metadata.create_all(session.connection())
        fresh = -(-load.invoices // load.taxpayers // RANGE_SIZE) + 1
        session.execute(
            insert(NumberRange),
            [
                {
                    "organization": organization_code(taxpayer),
                    "prefix": this_years_prefix(),
                    "next_sequence": taxpayer * 10_000_000_000 + place * RANGE_SIZE,
                    "last_sequence": taxpayer * 10_000_000_000 + (place + 1) * RANGE_SIZE - 1,
                }
                for taxpayer in range(load.taxpayers)
                for place in range(fresh)
            ],
        )
    sessions.kw["bind"].dispose()


#: Where the time of a message goes: the end of a file's name, and the function of it in which the time is spent.
PHASES = {
    "waiting for the commit": ("default.py", "do_commit"),
    "the other statements": ("default.py", "do_execute"),
    "publishing, with the confirm": ("messaging.py", "publish"),
    "acknowledging": ("message.py", "ack"),
}
_WHOLE = ("one_by_one.py", "_handle")


def main() -> None:
    """Work until SIGTERM."""
    broker_url, database_url, prefetch = sys.argv[1:4]
    sessions = open_sessions(database_url)
    worker = OneByOne(broker_url, int(prefetch), lambda request: assign(sessions, request))
    if len(sys.argv) == 4:  # noqa: PLR2004 -- no profile is wanted
        worker.work()
        return
    profile = cProfile.Profile()
    profile.runcall(worker.work)
    profile.dump_stats(sys.argv[4])


def phases_of(file: Path) -> dict[str, float]:
    """Read a profile: the share of a message's time that each phase takes, and what is left for Python and the ORM."""
    # One entry for each function: (file, line, name) to (calls, calls without recursion, own, cumulative, callers).
    entries: dict[tuple[str, int, str], tuple[int, int, float, float, object]] = vars(pstats.Stats(str(file)))["stats"]

    def spent(place: tuple[str, str]) -> float:
        ending, function = place
        return max(
            (entry[3] for (path, _, name), entry in entries.items() if name == function and path.endswith(ending)),
            default=0.0,
        )

    whole = spent(_WHOLE)
    shares = {phase: spent(place) / whole for phase, place in PHASES.items()}
    return {**shares, "Python, the ORM, reading and writing JSON": 1 - sum(shares.values())}


if __name__ == "__main__":
    main()
