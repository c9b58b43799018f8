"""What a connection attempt that failed means: what a retry can mend, and what a person must correct."""

import re
from collections.abc import Mapping
from typing import Final

from psycopg import errors

from fluxbase_migrations.core.errors import AuthFailed, MigrationError, ServerRefused, Unreachable
from fluxbase_migrations.runner.connection.dsn import password_of
from fluxbase_migrations.runner.connection.golang_url import unusable
from fluxbase_migrations.runner.connection.libpq import Failure
from fluxbase_migrations.runner.connection.masking import scrub_connection_error

_CERTIFICATES: Final = re.compile(
    r"certificate verify failed|does not match host name|certificate file|private key file"
    r"|alert (?:unknown ca|\w* ?certificate|bad certificate)|certificate revocation",
    re.IGNORECASE,
)
"""libpq gives no code for what OpenSSL says, and a retry never helps."""

_LOGIN: Final = "28"
"""SQLSTATE class: invalid authorization."""
SETTING_REFUSED: Final = frozenset(("42704", "42501", "42602", "22023", "22P02", "55P02"))
"""SQLSTATEs of settings in ``options`` that the server does not know or take."""

_WHY: Final = {
    "42704": "the server has no such setting, and libpq no such parameter",
    "42501": "the role may not set it",
    "55P02": "a session may not set it",
}


def classify(error: errors.Error, parameters: Mapping[str, str], hidden: list[str]) -> MigrationError:
    """Bad credentials or certificates, unusable parameters, or a server that is not there (yet)."""
    failure = Failure.of(error)
    text = scrub_connection_error(failure.text, hidden)
    state = _decisive_state(failure)
    if state.startswith(_LOGIN) or failure.needs_password:
        return AuthFailed(
            f"authentication failed: {text}",
            sql_state=state or None,
            hint="check the user name, and the password or the client's certificate"
            + _white_space(password_of(parameters)),
        )
    if _CERTIFICATES.search(text):
        return AuthFailed(
            f"TLS certificate verification failed: {text}",
            hint="check sslmode, sslrootcert, sslcert and sslkey, and the host's name",
        )
    if state in SETTING_REFUSED:
        return ServerRefused(
            f"the server refuses the connection's options: {text}",
            sql_state=state,
            hint="check PGOPTIONS, and options in the URL or the service file",
        )
    if not isinstance(error, errors.OperationalError):
        return ServerRefused(f"the connection's parameters cannot be used: {text}")
    return Unreachable(
        f"cannot connect to the database: {text}",
        sql_state=state or None,
        hint="check host, port, database name and sslmode, and the network",
    )


def _decisive_state(failure: Failure) -> str:
    """The SQLSTATE to report where several hosts failed: a refused login first, as no retry mends it."""
    logins = [state for state in failure.states if state.startswith(_LOGIN)]
    return next(iter([*logins, *failure.states]), "")


def _white_space(password: str) -> str:
    """A note on white space around the password, as Secrets made from files have it; it may be meant."""
    ends, begins = password[len(password.rstrip()) :], password[: len(password) - len(password.lstrip())]
    for edge, where in ((ends, "ends"), (begins, "begins")):
        if edge:
            what = "a line break" if "\n" in edge or "\r" in edge else "white space"
            return f"; the password {where} with {what}"
    return ""


def setting_refused(name: str, error: errors.Error) -> ServerRefused:
    """The server does not take a setting that the URL names; its value is not repeated."""
    return unusable(name, _WHY.get(error.sqlstate or "", "the server does not take its value"))
