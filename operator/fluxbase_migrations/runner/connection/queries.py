"""One statement of our own, its parameters, and its rows as Python values.

By libpq's own interface, values as text: the few types that our statements use need no adapters.
"""

import json
import re
import select
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from psycopg import errors, pq
from psycopg.pq import abc

from fluxbase_migrations.runner.sql.encodings import client_codec, encoded

_READERS: Final[Mapping[int, Callable[[str], Any]]] = {
    16: lambda text: text == "t",
    **dict.fromkeys((20, 21, 23, 26), int),
    **dict.fromkeys((114, 3802), json.loads),
    **dict.fromkeys((1003, 1009), lambda text: _elements(text)),
}
"""By the type: boolean, bigint, smallint, integer, oid, json, jsonb, name[], text[]; all others are text."""

_ELEMENT: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|([^",{}]+)', re.DOTALL)
_PLACEHOLDER: Final = re.compile(rb"%(.)", re.DOTALL)


def run(pgconn: abc.PGconn, text: bytes, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run a statement and return its rows; of several without parameters, those of the last.

    Args:
        pgconn: A connection that does not block.
        text: The statement. With parameters, ``%s`` stands for each of them and ``%%`` for a percent sign.
        params: Strings, whole numbers, None, or lists of strings.

    Raises:
        errors.Error: as the server says; OperationalError also where the connection is lost.
    """
    codec = client_codec(pgconn)
    if params:
        pgconn.send_query_params(_numbered(text), [_written(value, codec) for value in params])
    else:
        pgconn.send_query(text)
    result = _only_result(pgconn)
    if result.status == pq.ExecStatus.FATAL_ERROR:
        raise _error(pgconn, result, codec)
    return _rows(result, codec)


def _numbered(text: bytes) -> bytes:
    number = 0

    def numbered(match: re.Match[bytes]) -> bytes:
        nonlocal number
        if match[1] == b"%":
            return b"%"
        number += 1
        return b"$%d" % number

    return _PLACEHOLDER.sub(numbered, text)


def _written(value: Any, codec: str) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, list):
        value = "{" + ",".join('"' + re.sub(r'(["\\])', r"\\\1", element) + '"' for element in value) + "}"
    return encoded(str(value), codec)


def _only_result(pgconn: abc.PGconn) -> abc.PGresult:
    """Wait for everything that the server answers, and return the last of it, or the error."""
    last: abc.PGresult | None = None
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLIN | select.POLLOUT)
    try:
        while pgconn.flush():
            poll.poll()
            pgconn.consume_input()
        poll.modify(pgconn.socket, select.POLLIN)
        while True:
            while pgconn.is_busy():
                poll.poll()
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                break
            if last is None or last.status != pq.ExecStatus.FATAL_ERROR:
                last = result
    except errors.Error:
        # A server that ends the session sends its reason first: that is the answer.
        if last is None or last.status != pq.ExecStatus.FATAL_ERROR:
            raise
    if last is None:
        raise errors.OperationalError("the server closed the connection without an answer")
    return last


def _error(pgconn: abc.PGconn, result: abc.PGresult, codec: str) -> errors.Error:
    """What the server said; where it said nothing, libpq's words about a connection that is lost."""
    if pgconn.status != pq.ConnStatus.OK and result.error_field(pq.DiagnosticField.SQLSTATE) is None:
        return errors.OperationalError(result.get_error_message(codec))
    return errors.error_from_result(result, codec)


def _rows(result: abc.PGresult, codec: str) -> list[tuple[Any, ...]]:
    readers = [_READERS.get(result.ftype(column), str) for column in range(result.nfields)]

    def value(row: int, column: int) -> Any:
        text = result.get_value(row, column)
        return None if text is None else readers[column](text.decode(codec, "replace"))

    return [tuple(value(row, column) for column in range(len(readers))) for row in range(result.ntuples)]


def _elements(text: str) -> list[str | None]:
    """The elements of an array of one dimension."""
    return [
        None if bare == "NULL" else bare or re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
        for quoted, bare in _ELEMENT.findall(text)
    ]
