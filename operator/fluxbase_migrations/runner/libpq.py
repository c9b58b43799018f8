"""What psycopg does not offer of libpq: SQLSTATEs of a refused connection, and parameters as resolved.

libpq keeps no code of an error that ends a connection attempt, and a server says it in its own language.
With verbosity ``VERBOSE``, which psycopg cannot set, the code is part of the message.
"""

import ctypes
import re
import sys
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import psycopg
from psycopg import conninfo, pq, waiting

_VERBOSITY_DEFAULT: Final = 1
_VERBOSITY_VERBOSE: Final = 2

_NOWHERE: Final = "/nonexistent.fluxbase-migrate"
"""A directory for a socket that nobody listens on."""


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose failed attempts tell the server's SQLSTATE in their message."""

    @classmethod
    def _connect_gen(cls, conninfo: str = "", **_: Any) -> Generator[tuple[int, Any], Any, "Connection"]:
        pgconn = pq.PGconn.connect_start(conninfo.encode())
        _set_verbosity(pgconn, _VERBOSITY_VERBOSE)
        while True:
            status: int = pq.PollingStatus.FAILED
            if pgconn.status != pq.ConnStatus.BAD:
                status = pgconn.connect_poll()
            if status == pq.PollingStatus.OK:
                break
            if status == pq.PollingStatus.FAILED:
                text = pgconn.get_error_message()
                raise psycopg.OperationalError(text, pgconn=psycopg.errors.finish_pgconn(pgconn))
            wait = waiting.Wait.R if status == pq.PollingStatus.READING else waiting.Wait.W
            while not (yield pgconn.socket, wait):
                pass
        _set_verbosity(pgconn, _VERBOSITY_DEFAULT)
        pgconn.nonblocking = 1
        return cls(pgconn)


def _set_verbosity(pgconn: pq.abc.PGconn, verbosity: int) -> None:
    function, pointer = _verbosity_function(), getattr(pgconn, "pgconn_ptr", None)
    if function is not None and pointer is not None:
        function(pointer, verbosity)


@cache
def _verbosity_function() -> Callable[[int, int], int] | None:
    """``PQsetErrorVerbosity`` of the very libpq that psycopg is linked with; None: it cannot be found."""
    module = sys.modules[pq.PGconn.__module__]
    in_python: Any = getattr(getattr(module, "impl", None), "pq", None)
    try:
        # A library's handle finds the functions of the libraries that it needs, too.
        function = (in_python or ctypes.PyDLL(module.__file__)).PQsetErrorVerbosity
    except (OSError, AttributeError, TypeError):
        return None
    function.argtypes = [ctypes.c_void_p, ctypes.c_int]
    function.restype = ctypes.c_int
    return function


_REPORT: Final = re.compile(r"(?P<severity>\w+):  (?P<state>[0-9A-Z]{5}): ")
_LOCATION: Final = re.compile(r"^\w+:  \w+, [^\s:]+:[0-9]+$")
"""Where in the server's source; the word before it is in the language of the user."""
_ATTEMPT: Final = re.compile(r"^- host: .*?, hostaddr: (?:None|'[^']*'): ")
"""How psycopg begins each line of several attempts."""
_ALL_ATTEMPTS: Final = "All failures were:\n"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why no connection came about."""

    text: str
    """Each of the reasons once: with ``sslmode=prefer``, libpq tries twice."""
    states: tuple[str, ...] = ()
    """The SQLSTATEs that servers gave."""
    needs_password: bool = False
    """A server asked for a password, and there was none."""

    @classmethod
    def of(cls, error: psycopg.Error) -> "Failure":
        """Read what psycopg raised."""
        _, _, attempts = str(error).rpartition(_ALL_ATTEMPTS)
        lines = [
            _ATTEMPT.sub("", line) for line in attempts.splitlines() if not _LOCATION.match(line.strip())
        ]
        states = tuple(dict.fromkeys(found["state"] for line in lines if (found := _REPORT.search(line))))
        told = [line for line in lines if not _repeats(line, states)]
        reasons = dict.fromkeys(" ".join(_REPORT.sub(r"\g<severity>: ", line).split()) for line in told)
        text = "; ".join(filter(None, reasons))
        needs_password = bool(error.pgconn and error.pgconn.needs_password)
        return cls(text, states, needs_password)


def _repeats(line: str, states: tuple[str, ...]) -> bool:
    """Whether a line only says that the second try, with or without TLS, was not admitted either."""
    found = _REPORT.search(line)
    return found is not None and found["state"] == "28000" and "28P01" in states


@dataclass(frozen=True, slots=True)
class Resolved:
    """Parameters as libpq understands them, with the environment and the service file, but for the host."""

    values: Mapping[str, str]
    problem: str | None = None
    """Why libpq would not even try to connect; it may quote what was given."""


def resolve(parameters: Mapping[str, str]) -> Resolved:
    """Ask libpq what it would use; nothing is connected to."""
    found = _resolve(parameters, hosts=1)
    ports = found.values.get("port", "").count(",") + 1
    return found if ports == 1 else _resolve(parameters, hosts=ports)


def _resolve(parameters: Mapping[str, str], hosts: int) -> Resolved:
    probe: dict[str, Any] = {**parameters, "host": ",".join([_NOWHERE] * hosts), "hostaddr": ""}
    try:
        pgconn = pq.PGconn.connect_start(conninfo.make_conninfo(**probe).encode())
    except psycopg.Error as error:
        return Resolved({}, str(error).strip())
    try:
        values = {
            option.keyword.decode(): option.val.decode(errors="replace")
            for option in pgconn.info
            if option.val is not None
        }
        text = pgconn.get_error_message().strip()
        return Resolved(values, None if _NOWHERE in text else text)
    finally:
        pgconn.finish()


@cache
def keywords() -> frozenset[str]:
    """The names of libpq's own parameters."""
    return frozenset(option.keyword.decode() for option in pq.Conninfo.get_defaults())
