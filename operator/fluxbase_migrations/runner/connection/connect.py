"""How a session comes to be: patience with a server that starts, and servers that are refused.

Where migrations cannot be safe, the error says why: a read-only role, an old server, a pooler that shares one
connection among many. A server that can only be read for the time being is waited for.
"""

import random
import time
from typing import Final

from psycopg import errors
from psycopg.pq import abc

from fluxbase_migrations.core.errors import Interrupted, MigrationError, ServerRefused, Unreachable
from fluxbase_migrations.core.lazy_dataclass import dataclass
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
    """Connect, retrying for a while as long as the server cannot be reached.

    Raises:
        Unreachable, AuthFailed, ServerRefused: with the server's own words.
        Interrupted: a signal arrived.
    """
    connector = _Connector(parameters, settings, hidden, stop, log)
    deadline = time.monotonic() + settings.connect_patience
    pause, warned = 0.25, False
    while True:
        try:
            return connector.usable_session()
        except Unreachable as error:
            if time.monotonic() + pause > deadline:
                raise
            if not warned:
                log.warn("database not reachable yet, retrying", error=error.info.message)
                warned = True
        if stop.signal is None:
            stop.wait(pause * random.uniform(0.8, 1.2))
        if stop.signal is not None:
            raise Interrupted(f"{stop.signal} received while connecting")
        pause = min(pause * 1.6, 5.0)


def read_only_server() -> Unreachable:
    """The error for a server that accepts no writes at present."""
    return Unreachable(
        "the server accepts no writes: it is read-only",
        hint="it will be retried automatically; if it persists, look at default_transaction_read_only and at "
        "the failover",
    )


@dataclass(frozen=True, slots=True)
class _Connector:
    """Opens sessions with one database."""

    parameters: dict[str, str]
    settings: Settings
    hidden: list[str]
    stop: Stop
    log: Log

    def usable_session(self) -> Session:
        """One try; a server on which migrations cannot be safe is refused.

        Raises:
            Unreachable: there is no connection, or the server can only be read, which may pass.
            MigrationError: it cannot be used.
        """
        session = self.session()
        try:
            _require_version(session)
            session.server_pid = _require_writable(session)
            if session.server_pid != session.pgconn.backend_pid and self._is_transaction_pooler(session):
                raise ServerRefused(
                    "the connection goes through a pooler in transaction mode (pgbouncer?), which hands "
                    "session locks and settings to other clients",
                    hint="connect to PostgreSQL directly, or to a pool in session mode",
                )
        except BaseException:
            session.close()
            raise
        return session

    def session(self) -> Session:
        """Our settings go into the startup packet, so that RESET ALL brings them back."""
        startup = self.settings.startup()
        try:
            connection = self._open(startup)
            if "transaction_timeout" not in startup and _needs_transaction_timeout(connection):
                connection.finish()
                connection = self._open(startup | {"transaction_timeout": "0"})
            return Session(connection, self.hidden, self.stop)
        except errors.Error as error:
            failure = Failure.of(error)
            refused = SETTING_REFUSED.intersection(failure.states)
            if not refused and "unsupported startup parameter" not in failure.text:  # pgbouncer's words
                raise classify(error, self.parameters, self.hidden) from None
        # A pooler, or a server built without one of them: set them by statement instead.
        self.log.info("the server refuses settings in the startup packet; setting them by statement")
        connection, after_reset = self._open_with_statements()
        return Session(connection, self.hidden, self.stop, after_reset)

    def _open(self, startup: dict[str, str]) -> abc.PGconn:
        switches = [
            f"-c {name}={_escaped(value)}" for name, value in startup.items() if name != "client_encoding"
        ]
        options = " ".join(filter(None, (self.parameters.get("options"), *switches)))
        return self._connection({**self.parameters, "options": options})

    def _connection(self, parameters: dict[str, str]) -> abc.PGconn:
        # A run that was asked to end and connects again has something to record, and goes on as long as ever.
        wake = self.stop.fileno if self.stop.signal is None else None
        return libpq.connect(wake=wake, **{**parameters, "client_encoding": "UTF8"})

    def _open_with_statements(self) -> tuple[abc.PGconn, bytes]:
        """A connection, and the statements that have set what the startup packet could not."""
        try:
            connection = self._connection(self.parameters)
        except errors.Error as error:
            raise classify(error, self.parameters, self.hidden) from None
        statements = []
        for name, value in self.settings.startup().items():
            if name == "client_encoding":
                continue
            text = _set_config(name, value).as_bytes(connection)
            try:
                queries.run(connection, text)
            except errors.Error as error:
                if name not in self.settings.named:
                    continue
                connection.finish()
                raise setting_refused(name, error) from None
            statements.append(text + b";\n")
        return connection, b"".join(statements)

    def _is_transaction_pooler(self, session: Session) -> bool:
        """Hold a transaction on a second connection and see whether the first one's backend changes."""
        first_pid = _backend_pid(session)
        try:
            second = self.session()
        except MigrationError:
            return False
        try:
            second.query("BEGIN")
            # The same backend: the pool holds no more; a query of the first would wait for the second's end.
            return _backend_pid(second) == first_pid or _backend_pid(session) != first_pid
        finally:
            second.close()


def _escaped(value: str) -> str:
    """A value within ``options``, where white space separates and a backslash escapes."""
    return "".join(
        "\\" + character if character == "\\" or character.isspace() else character for character in value
    )


def _set_config(name: str, value: str) -> sql.Composed:
    return sql.SQL("SELECT pg_catalog.set_config({}, {}, false)").format(sql.Literal(name), _literal(value))


def _literal(value: str) -> sql.Composable:
    """A literal without a semicolon, by which the statements are counted when they are repeated."""
    parts = sql.SQL(", pg_catalog.chr(59), ").join(sql.Literal(part) for part in value.split(";"))
    return sql.SQL("pg_catalog.concat({})").format(parts) if ";" in value else parts


def _needs_transaction_timeout(connection: abc.PGconn) -> bool:
    if connection.server_version < 170000:
        return False
    ((value,),) = queries.run(connection, b"SELECT current_setting('transaction_timeout', true)")
    return value not in (None, "0")


def _backend_pid(session: Session) -> int:
    ((pid,),) = session.query("SELECT pg_catalog.pg_backend_pid()")
    return int(pid)


def _require_version(session: Session) -> None:
    if session.server_version < _MINIMUM_VERSION:
        raise ServerRefused(
            f"the server is PostgreSQL {session.server_version // 10000}; 14 or newer is needed",
            hint="upgrade the server",
        )


def _require_writable(session: Session) -> int:
    """Check that the server accepts writes; returns the backend's pid, which the same query reads."""
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
    return int(pid)


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
