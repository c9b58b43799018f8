"""What psycopg does not offer of libpq: SQLSTATEs of a refused connection, and parameters as resolved.

libpq keeps no code of an error that ends a connection attempt, and the message is in the server's language.
With verbosity ``VERBOSE``, which psycopg cannot set, the code is part of the message.
"""

import ctypes
import math
import re
import select
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from psycopg import conninfo, errors, pq
from psycopg.pq import abc

from fluxbase_migrations.core.lazy_dataclass import dataclass

_VERBOSITY_DEFAULT: Final = 1
_VERBOSITY_VERBOSE: Final = 2

_LAST_SECONDS: Final = 2.0
"""What attempts may still take once the program is asked to end: a server that is there answers in less."""

_NOWHERE: Final = "/nonexistent.fluxbase-migrate"
"""The directory of a socket that no server listens on."""


def connect(text: str = "", *, wake: int | None = None, **parameters: str) -> abc.PGconn:
    """Connect to the first host that can be used; a failure has the server's SQLSTATE in its message.

    Each address that a name stands for is an attempt, with ``connect_timeout`` for each.

    Args:
        text: A connection string.
        wake: A file descriptor that becomes readable when the program is asked to end: the attempts are
            cut short then.
        parameters: libpq's parameters, which win.

    Raises:
        errors.ProgrammingError: the parameters cannot be used.
        errors.OperationalError: no attempt succeeded; the message has every reason.
    """
    merged = conninfo.conninfo_to_dict(text, **parameters)
    limit = _Limit(conninfo.timeout_from_conninfo(merged), wake)
    failed: list[tuple[str, errors.Error]] = []
    for attempt in conninfo.conninfo_attempts(merged):
        try:
            return _attempt(conninfo.make_conninfo("", **attempt), limit)
        except errors.Error as error:
            place = ", ".join(f"{name}: {attempt.get(name)!r}" for name in ("host", "port", "hostaddr"))
            failed.append((place, error))
    last = failed[-1][1]
    if len(failed) == 1:
        raise last
    lines = [str(last), _ALL_ATTEMPTS.strip(), *(f"- {place}: {error}" for place, error in failed)]
    raise type(last)("\n".join(lines), pgconn=last.pgconn)


class _Limit:
    """Until when an attempt may take."""

    def __init__(self, seconds: float, wake: int | None) -> None:
        self._seconds = seconds
        self._wake = wake
        self._deadline = self._last = math.inf

    def begin(self) -> None:
        """Begin the next attempt at connecting."""
        self._deadline = min(time.monotonic() + self._seconds, self._last)

    def ready(self, socket: int, status: int) -> bool:
        """As :func:`ready`; a request to end leaves all attempts together a moment."""
        poll = _poll(socket, status)
        if self._wake is not None:
            poll.register(self._wake, select.POLLIN)
        events = dict(poll.poll(_milliseconds_until(self._deadline)))
        if self._wake not in events:
            return bool(events)
        self._wake = None
        self._last = time.monotonic() + _LAST_SECONDS
        self._deadline = min(self._deadline, self._last)
        return self.ready(socket, status)


def _attempt(text: str, limit: _Limit) -> abc.PGconn:
    limit.begin()
    pgconn = pq.PGconn.connect_start(text.encode())
    try:
        _set_verbosity(pgconn, _VERBOSITY_VERBOSE)
        _finish_connecting(pgconn, limit)
        _set_verbosity(pgconn, _VERBOSITY_DEFAULT)
        pgconn.nonblocking = 1
    except BaseException:
        pgconn.finish()
        raise
    return pgconn


def _finish_connecting(pgconn: abc.PGconn, limit: _Limit) -> None:
    while True:
        status: int = pq.PollingStatus.FAILED
        if pgconn.status != pq.ConnStatus.BAD:
            status = pgconn.connect_poll()
        if status == pq.PollingStatus.OK:
            return
        if status == pq.PollingStatus.FAILED:
            text = pgconn.get_error_message()
            raise errors.OperationalError(text, pgconn=errors.finish_pgconn(pgconn))
        if not limit.ready(pgconn.socket, status):
            raise errors.ConnectionTimeout("connection timeout expired")


def ready(socket: int, status: int, deadline: float) -> bool:
    """Wait for the socket as a polling function of libpq asks; False: not ready before ``deadline``."""
    return bool(_poll(socket, status).poll(_milliseconds_until(deadline)))


def _poll(socket: int, status: int) -> select.poll:
    poll = select.poll()
    poll.register(socket, select.POLLIN if status == pq.PollingStatus.READING else select.POLLOUT)
    return poll


def _milliseconds_until(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic()) * 1000


def cancel(pgconn: abc.PGconn, seconds: float) -> None:
    """Ask the server to cancel what the connection runs; the answer comes on the connection itself.

    Raises:
        errors.Error: the server could not be asked within ``seconds``.
    """
    try:
        canceling = pgconn.cancel_conn()
    except errors.NotSupportedError:  # libpq before 17, whose request is not encrypted
        pgconn.get_cancel().cancel()
        return
    deadline = time.monotonic() + seconds
    try:
        canceling.start()
        while (status := canceling.poll()) != pq.PollingStatus.OK:
            if status == pq.PollingStatus.FAILED:
                raise errors.OperationalError(canceling.get_error_message())
            if not ready(canceling.socket, status, deadline):
                raise errors.CancellationTimeout("cancellation timeout expired")
    finally:
        canceling.finish()


def _set_verbosity(pgconn: abc.PGconn, verbosity: int) -> None:
    function, pointer = _verbosity_function(), getattr(pgconn, "pgconn_ptr", None)
    if function is not None and pointer is not None:
        function(pointer, verbosity)


@cache
def _verbosity_function() -> Callable[[int, int], int] | None:
    """``PQsetErrorVerbosity`` of the very libpq that psycopg is linked with; None: it cannot be found."""
    module = sys.modules[pq.PGconn.__module__]
    python_pq: Any = getattr(getattr(module, "impl", None), "pq", None)
    try:
        # A library's handle finds the functions of the libraries that it needs, too.
        function = (python_pq or ctypes.PyDLL(module.__file__)).PQsetErrorVerbosity
    except (OSError, AttributeError, TypeError):
        return None
    function.argtypes = [ctypes.c_void_p, ctypes.c_int]
    function.restype = ctypes.c_int
    return function


_REPORT: Final = re.compile(r"(?P<severity>\w+):  (?P<state>[0-9A-Z]{5}): ")
_LOCATION: Final = re.compile(r"^\w+:  \w+, [^\s:]+:[0-9]+$")
"""Where in the server's source; the word before it is in the language of the user."""
_ATTEMPT: Final = re.compile(r"^- host: .*?, hostaddr: (?:None|'[^']*'): ")
"""How each line of several attempts begins."""
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
    def of(cls, error: errors.Error) -> "Failure":
        """Read what :func:`connect` raised."""
        _, _, attempts = str(error).rpartition(_ALL_ATTEMPTS)
        lines = [
            _ATTEMPT.sub("", line) for line in attempts.splitlines() if not _LOCATION.match(line.strip())
        ]
        states = tuple(dict.fromkeys(match["state"] for line in lines if (match := _REPORT.search(line))))
        reported = [line for line in lines if not _repeats(line, states)]
        reasons = dict.fromkeys(" ".join(_REPORT.sub(r"\g<severity>: ", line).split()) for line in reported)
        text = "; ".join(filter(None, reasons))
        needs_password = bool(error.pgconn and error.pgconn.needs_password)
        return cls(text, states, needs_password)


def _repeats(line: str, states: tuple[str, ...]) -> bool:
    """Whether a line only says that the second try, with or without TLS, was not admitted either."""
    match = _REPORT.search(line)
    return match is not None and match["state"] == "28000" and "28P01" in states


@dataclass(frozen=True, slots=True)
class Resolved:
    """Parameters as libpq understands them, with the environment and the service file, but for the host."""

    values: Mapping[str, str]
    problem: str | None = None
    """Why libpq would not even try to connect; it may quote the parameters."""


def resolve(parameters: Mapping[str, str]) -> Resolved:
    """Ask libpq what it would use; nothing is connected to."""
    resolved = _resolve(parameters, hosts=1)
    ports = resolved.values.get("port", "").count(",") + 1
    resolved = resolved if ports == 1 else _resolve(parameters, hosts=ports)
    if resolved.problem is None or resolved.values.get(_GSS) != "require":
        return resolved
    # libpq refuses it for a socket, and the real host may not be one.
    without_gss = _resolve({**parameters, _GSS: "disable"}, hosts=ports)
    return Resolved({**without_gss.values, _GSS: "require"}, without_gss.problem)


_GSS: Final = "gssencmode"


def _resolve(parameters: Mapping[str, str], hosts: int) -> Resolved:
    probe: dict[str, Any] = {**parameters, "host": ",".join([_NOWHERE] * hosts), "hostaddr": ""}
    try:
        pgconn = pq.PGconn.connect_start(conninfo.make_conninfo(**probe).encode())
    except errors.Error as error:
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
