"""How a session comes to be: patience with a server that starts, and servers that are refused.

What migrations cannot be safe on is told with its reason: a read-only role, an old server, a pooler that
shares one connection among many. A server that can only be read for the time being is waited for.
"""

import random
import time
from typing import Final

from psycopg import errors
from psycopg.pq import abc

from fluxbase_migrations.core.errors import Interrupted, MigrationError, ServerRefused, Unreachable
from fluxbase_migrations.runner.connection import libpq, queries
from fluxbase_migrations.runner.connection.connect_errors import SETTING_REFUSED, classify, setting_refused
from fluxbase_migrations.runner.connection.libpq import Failure
from fluxbase_migrations.runner.connection.session import Session, Settings
from fluxbase_migrations.runner.connection.signals import Stop
from fluxbase_migrations.runner.log import Log
from fluxbase_migrations.runner.sql import composing as sql

_MINIMUM_VERSION: Final = 140000


def connect(
    parameters: dict[str, str], settings: Settings, hidden: list[str], stop: Stop, log: Log
) -> Session:
    """Connect, trying again for a while as long as the server cannot be reached.

    Raises:
        Unreachable, AuthFailed, ServerRefused: with the server's own words.
        Interrupted: a signal came meanwhile.
    """
    deadline = time.monotonic() + settings.connect_patience
    pause, told = 0.25, False
    while True:
        try:
            return _checked(
                _connect_once(parameters, settings, hidden, stop, log), parameters, settings, hidden, log
            )
        except Unreachable as error:
            if time.monotonic() + pause > deadline:
                raise
            if not told:
                log.warn("database not reachable yet, trying again", error=error.info.message)
                told = True
        if stop.signal is None:
            stop.wait(pause * random.uniform(0.8, 1.2))
        if stop.signal is not None:
            raise Interrupted(f"{stop.signal} received while connecting")
        pause = min(pause * 1.6, 5.0)


def _connect_once(
    parameters: dict[str, str], settings: Settings, hidden: list[str], stop: Stop, log: Log
) -> Session:
    startup = settings.startup()
    # A run that was asked to end and connects again has something to record, and goes on for as long as ever.
    wake = stop.fileno if stop.signal is None else None
    try:
        connection = _open(parameters, startup, wake)
        if "transaction_timeout" not in startup and _needs_transaction_timeout(connection):
            connection.finish()
            connection = _open(parameters, startup | {"transaction_timeout": "0"}, wake)
        return Session(connection, hidden, stop)
    except errors.Error as error:
        failure = Failure.of(error)
        refused = SETTING_REFUSED.intersection(failure.states)
        if not refused and "unsupported startup parameter" not in failure.text:  # pgbouncer's words
            raise classify(error, parameters, hidden) from None
    # A pooler, or a server built without one of them: set them by statement instead.
    log.info("the server refuses settings in the startup packet; setting them by statement")
    connection, after_reset = _open_with_statements(parameters, settings, hidden, wake)
    return Session(connection, hidden, stop, after_reset)


def _open(parameters: dict[str, str], startup: dict[str, str], wake: int | None) -> abc.PGconn:
    own = [f"-c {name}={_escaped(value)}" for name, value in startup.items() if name != "client_encoding"]
    options = " ".join(filter(None, (parameters.get("options"), *own)))
    return _connection({**parameters, "options": options}, wake)


def _connection(parameters: dict[str, str], wake: int | None) -> abc.PGconn:
    return libpq.connect(wake=wake, **{**parameters, "client_encoding": "UTF8"})


def _escaped(value: str) -> str:
    """A value within ``options``, where white space separates and a backslash escapes."""
    return "".join("\\" + one if one == "\\" or one.isspace() else one for one in value)


def _open_with_statements(
    parameters: dict[str, str], settings: Settings, hidden: list[str], wake: int | None
) -> tuple[abc.PGconn, bytes]:
    try:
        connection = _connection(parameters, wake)
    except errors.Error as error:
        raise classify(error, parameters, hidden) from None
    statements = []
    for name, value in settings.startup().items():
        if name == "client_encoding":
            continue
        statement = sql.SQL("SELECT pg_catalog.set_config({}, {}, false)").format(
            sql.Literal(name), _literal(value)
        )
        text = statement.as_bytes(connection)
        try:
            queries.run(connection, text)
        except errors.Error as error:
            if name not in settings.named:
                continue
            connection.finish()
            raise setting_refused(name, error) from None
        statements.append(text + b";\n")
    return connection, b"".join(statements)


def _literal(value: str) -> sql.Composable:
    """A literal without a semicolon, by which the statements are counted when they are repeated."""
    parts = sql.SQL(", pg_catalog.chr(59), ").join(sql.Literal(part) for part in value.split(";"))
    return sql.SQL("pg_catalog.concat({})").format(parts) if ";" in value else parts


def _needs_transaction_timeout(connection: abc.PGconn) -> bool:
    if connection.server_version < 170000:
        return False
    ((value,),) = queries.run(connection, b"SELECT current_setting('transaction_timeout', true)")
    return value not in (None, "0")


def _checked(
    session: Session, parameters: dict[str, str], settings: Settings, hidden: list[str], log: Log
) -> Session:
    """Refuse servers on which migrations cannot be safe.

    Raises:
        Unreachable: the server can only be read, which may pass.
        ServerRefused: it cannot be used.
    """
    try:
        if session.server_version < _MINIMUM_VERSION:
            raise ServerRefused(
                f"the server is PostgreSQL {session.server_version // 10000}; 14 or newer is needed",
                hint="upgrade the server",
            )
        in_recovery, pid, read_only = session.query(
            "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.pg_backend_pid(),"
            " pg_catalog.current_setting('transaction_read_only')"
        )[0]
        if in_recovery:
            raise Unreachable(
                "the server is a standby: it is in recovery and can only be read",
                hint="connect to the primary, or name all hosts and add target_session_attrs=read-write",
            )
        if read_only == "on":
            raise _read_only(session)
        session.server_pid = pid
        if pid != session.pgconn.backend_pid and _is_transaction_pooler(
            session, parameters, settings, hidden, log
        ):
            raise ServerRefused(
                "a pooler in transaction mode (pgbouncer?) stands between us and the server: session locks "
                "and settings would land on other people's connections",
                hint="connect to PostgreSQL directly, or to a pool in session mode",
            )
    except BaseException:
        session.close()
        raise
    return session


def _read_only(session: Session) -> MigrationError:
    """Whether it is the whole server, as during a failover or a maintenance, or this login's own setting."""
    rows = session.query(
        "SELECT source FROM pg_catalog.pg_settings WHERE name = 'default_transaction_read_only'"
        " AND setting = 'on'"
        " AND source IN ('user', 'database', 'database user', 'global', 'client', 'session')"
    )
    if not rows:
        return read_only_server()
    return ServerRefused(
        f"default_transaction_read_only is on for this session (source: {rows[0][0]})",
        hint="use a role that may write, or ALTER ROLE … RESET default_transaction_read_only (or ALTER "
        "DATABASE …, or the connection's options)",
    )


def read_only_server() -> Unreachable:
    """A server that can only be read now."""
    return Unreachable(
        "the server accepts no writes: it is read-only",
        hint="it will be retried automatically; if it persists, look at default_transaction_read_only and at "
        "the failover",
    )


def _is_transaction_pooler(
    session: Session, parameters: dict[str, str], settings: Settings, hidden: list[str], log: Log
) -> bool:
    """Hold a transaction on a second connection and see whether the first one's backend changes."""
    (before,) = session.query("SELECT pg_catalog.pg_backend_pid()")[0]
    try:
        others = [_connect_once(parameters, settings, hidden, session.stop, log)]
    except MigrationError:
        return False
    try:
        for other in others:
            (theirs,) = other.query("BEGIN") or other.query("SELECT pg_catalog.pg_backend_pid()")[0]
            if theirs == before:  # where the pool holds no more, our own query would wait for theirs
                return True
            (after,) = session.query("SELECT pg_catalog.pg_backend_pid()")[0]
            if after != before:
                return True
        return False
    finally:
        for other in others:
            other.close()
