"""Which database this is, read by the query that a run makes anyway.

The id of the history is entry 0 of its table, a number that no other entry ever gets: the primary key settles
which of two first writers wrote it.
"""

from psycopg import errors

from fluxbase_migrations.core.identity import DatabaseIdentity
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import HISTORY_ENTRY_IDENTITY
from fluxbase_migrations.runner.connection import failures
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.connection.table_name import HISTORY
from fluxbase_migrations.runner.history.entry import EntryKind
from fluxbase_migrations.runner.sql import composing as sql

_SESSION = sql.SQL(
    "SELECT pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) 'off',"
    " pg_catalog.current_setting('role'), pg_catalog.current_database()::pg_catalog.text,"
    " (SELECT oid FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=)"
    " pg_catalog.current_database())"
)
_SYSTEM = sql.SQL("(SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system())")
_HISTORY = sql.SQL("(SELECT attempt::pg_catalog.text FROM {} WHERE id OPERATOR(pg_catalog.=) {})")


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What holds for the whole session."""

    weak_commit: bool
    """The role's own synchronous_commit is off."""
    role: str
    """The setting ``role``."""
    identity: DatabaseIdentity


def read(session: Session, *, history: bool) -> SessionFacts:
    """Read the facts in one query; ``history`` says whether the table is there.

    A part that the role may not read stays unknown, and so does the server's identifier wherever the server
    refuses it; managed services do so with errors of their own.
    """
    id_of_history = _HISTORY.format(HISTORY.identifier, sql.Literal(HISTORY_ENTRY_IDENTITY))
    parts = [_SYSTEM, id_of_history if history else sql.SQL("NULL")]
    try:
        weak, role, name, oid, *identifiers = session.query(sql.SQL(", ").join([_SESSION, *parts]))[0]
    except errors.DatabaseError as error:
        _pass_on_faults(error)
        weak, role, name, oid = session.query(_SESSION)[0]
        identifiers = [
            _alone(session, _SYSTEM, errors.DatabaseError),
            _alone(session, parts[1], errors.InsufficientPrivilege),
        ]
    return SessionFacts(weak, role, DatabaseIdentity(name, identifiers[0], oid, identifiers[1]))


def _alone(session: Session, part: sql.Composable, refusal: type[errors.DatabaseError]) -> str | None:
    """Read one part; None where the server refuses it with ``refusal``."""
    try:
        value: str | None = session.query(sql.SQL("SELECT {}").format(part))[0][0]
    except refusal as error:
        _pass_on_faults(error)
        return None
    return value


def _pass_on_faults(error: errors.DatabaseError) -> None:
    """Raise ``error`` if it is no refusal: the connection was lost, or the fault may pass."""
    if not error.sqlstate or failures.transient_state(error.sqlstate):
        raise error


def write_history_id(session: Session, done_by: str) -> None:
    """Give the history its id, unless a concurrent run did."""
    text = (
        b"BEGIN ISOLATION LEVEL READ COMMITTED;"
        b"INSERT INTO %b (id, table_schema, table_name, kind, outcome, started_at, finished_at, done_by,"
        b" attempt) OVERRIDING SYSTEM VALUE VALUES (%d, %b, %b, %b, 'applied', pg_catalog.clock_timestamp(),"
        b" pg_catalog.clock_timestamp(), %b, pg_catalog.gen_random_uuid()) ON CONFLICT DO NOTHING;COMMIT"
    ) % (
        HISTORY.quoted(session),
        HISTORY_ENTRY_IDENTITY,
        session.literal(HISTORY.schema),
        session.literal(HISTORY.name),
        session.literal(EntryKind.IDENTITY),
        session.literal(done_by),
    )
    session.run_own(text)
