"""How a session comes to be: patience with a server that starts, and servers that are refused.

What migrations cannot be safe on is told with its reason: a standby, a read-only role, an old server, a
pooler that shares one connection among many.
"""

import os
import random
import re
import time
from typing import Any, Final

import psycopg
from psycopg import sql

from fluxbase_migrations.core.errors import (
    AuthFailed,
    Interrupted,
    MigrationError,
    ServerRefused,
    Unreachable,
)
from fluxbase_migrations.runner.dsn import scrub
from fluxbase_migrations.runner.log import Log
from fluxbase_migrations.runner.session import Session, Settings
from fluxbase_migrations.runner.signals import Stop

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
        if stop.signal is not None:
            raise Interrupted(f"{stop.signal} received while connecting")
        time.sleep(pause * random.uniform(0.8, 1.2))
        pause = min(pause * 1.6, 5.0)


def _connect_once(
    parameters: dict[str, str], settings: Settings, hidden: list[str], stop: Stop, log: Log
) -> Session:
    startup = settings.startup()
    try:
        connection = _open(parameters, startup)
        if connection.pgconn.server_version >= 170000 and _needs_transaction_timeout(connection):
            connection.close()
            connection = _open(parameters, startup | {"transaction_timeout": "0"})
        after_reset = b""
    except psycopg.OperationalError as error:
        if "unsupported startup parameter" not in str(error) and "unrecognized configuration" not in str(
            error
        ):
            raise classify_connect_error(error, hidden) from None
        # A pooler, or a server built without one of them: set them by statement instead.
        log.info("the server refuses settings in the startup packet; setting them by statement")
        connection, after_reset = _open_with_statements(parameters, startup, hidden)
    return Session(connection, hidden, stop, after_reset)


def _open(parameters: dict[str, str], startup: dict[str, str]) -> psycopg.Connection[tuple[Any, ...]]:
    options = " ".join(f"-c {name}={value}" for name, value in startup.items() if name != "client_encoding")
    own = parameters.get("options") or _environment_options()
    return psycopg.connect(
        **{**parameters, "client_encoding": "UTF8", "options": f"{own} {options}".strip()},  # type: ignore[arg-type]
        autocommit=True,
        prepare_threshold=None,
    )


def _environment_options() -> str:
    return os.environ.get("PGOPTIONS", "")


def _open_with_statements(
    parameters: dict[str, str], startup: dict[str, str], hidden: list[str]
) -> tuple[psycopg.Connection[tuple[Any, ...]], bytes]:
    try:
        connection = psycopg.connect(
            **{**parameters, "client_encoding": "UTF8"},  # type: ignore[arg-type]
            autocommit=True,
            prepare_threshold=None,
        )
    except psycopg.OperationalError as error:
        raise classify_connect_error(error, hidden) from None
    statements = []
    for name, value in startup.items():
        if name == "client_encoding":
            continue
        statement = sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
        try:
            connection.execute(statement)
        except psycopg.Error:
            continue
        statements.append(statement.as_bytes(connection) + b";\n")
    return connection, b"".join(statements)


def _needs_transaction_timeout(connection: psycopg.Connection[tuple[Any, ...]]) -> bool:
    row = connection.execute("SELECT current_setting('transaction_timeout', true)").fetchone()
    return row is not None and row[0] not in (None, "0")


def _checked(
    session: Session, parameters: dict[str, str], settings: Settings, hidden: list[str], log: Log
) -> Session:
    """Refuse servers on which migrations cannot be safe."""
    try:
        if session.server_version < _MINIMUM_VERSION:
            raise ServerRefused(
                f"the server is PostgreSQL {session.server_version // 10000}; 14 or newer is needed",
                hint="upgrade the server",
            )
        rows = session.query(
            "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.pg_backend_pid(), "
            "pg_catalog.current_setting('default_transaction_read_only')"
        )
        in_recovery, pid, read_only = rows[0]
        if in_recovery:
            raise ServerRefused(
                "the server is a standby: it is in recovery and can only be read",
                hint="connect to the primary, or name all hosts and add target_session_attrs=read-write",
            )
        if read_only == "on":
            raise ServerRefused(
                "the role's or database's default_transaction_read_only is on",
                hint="use a role that may write, or ALTER ROLE … RESET default_transaction_read_only",
            )
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


_LOGIN_REFUSED: Final = re.compile(
    r"authentication failed|no pg_hba\.conf entry|no password supplied|role .* does not exist"
    r"|requires a valid client certificate",
    re.IGNORECASE,
)
_CERTIFICATES: Final = re.compile(
    r"certificate verify failed|does not match host name|certificate file|private key file"
    r"|alert (?:unknown ca|\w* ?certificate|bad certificate)|certificate revocation",
    re.IGNORECASE,
)
"""libpq gives no code for what OpenSSL says, and waiting mends none of it."""


def classify_connect_error(error: psycopg.Error, hidden: list[str]) -> MigrationError:
    """What a failed attempt means: bad credentials or certificates, or a server that is not there (yet)."""
    text = scrub(" ".join(str(error).split()), hidden)
    if (error.sqlstate or "").startswith("28") or _LOGIN_REFUSED.search(text):
        return AuthFailed(
            f"the server refuses the login: {text}",
            hint="check the user name, and the password or the client's certificate",
        )
    if _CERTIFICATES.search(text):
        return AuthFailed(
            f"the certificates do not fit: {text}",
            hint="check sslmode, sslrootcert, sslcert and sslkey, and the host's name",
        )
    return Unreachable(
        f"cannot connect to the database: {text}",
        hint="check host, port, database name and sslmode, and the network",
    )
