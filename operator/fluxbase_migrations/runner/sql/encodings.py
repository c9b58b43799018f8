"""Texts of ours in a database whose encoding may lack some of their characters.

A file's name or an error's message is recorded in a form that always fits: what the encoding lacks is written
as an escape. Reading works as ever, because the client's side is UTF-8.
"""

import codecs
import re
from typing import Final

from psycopg import errors
from psycopg.pq import abc

_NAMES: Final = {"EUC_CN": "gb2312", "MULE_INTERNAL": "ascii", "EUC_TW": "ascii"}
_WINDOWS: Final = re.compile(r"WIN([0-9]+)")
_UNENCODABLE: Final = re.compile("[\0\ud800-\udfff]")
_JSON_NUL: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_ANY: Final = frozenset(("UTF8", "SQL_ASCII"))
"""SQL_ASCII keeps whatever bytes it gets."""


def fitting(text: str, server_encoding: str, *, in_json: bool = False) -> str:
    r"""``text`` with every character that the server's encoding lacks as ``\xXX`` or ``\uXXXX``.

    What no encoding of PostgreSQL's has is NUL, and a lone surrogate, as which Python reads a byte of the
    environment that is no text.

    In a JSON document the escape's own backslash is escaped: jsonb would refuse the character itself.
    """
    if in_json:
        text = _JSON_NUL.sub(r"\1\\\\x00", text)
    text = _UNENCODABLE.sub(lambda match: _escape(match[0], in_json), text)
    if server_encoding in _ANY or text.isascii():
        return text
    codec = _codec(server_encoding)
    return "".join(
        character if _fits(character, codec) else _escape(character, in_json) for character in text
    )


def _codec(server_encoding: str) -> str:
    name = _NAMES.get(server_encoding) or _WINDOWS.sub(r"cp\1", server_encoding).lower()
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "ascii"


def client_codec(pgconn: abc.PGconn) -> str:
    """Python's name of the encoding in which the server and this session write to each other."""
    encoding = (pgconn.parameter_status(b"client_encoding") or b"UTF8").decode()
    return "utf-8" if encoding in _ANY else _codec(encoding)


def encoded(text: str, codec: str) -> bytes:
    """``text`` as it is sent in a session of that encoding.

    Raises:
        errors.DataError: it cannot be sent; libpq would cut it off at a NUL.
    """
    if "\0" in text:
        raise errors.DataError(f"PostgreSQL has no NUL in a text, and {text!r} has one")
    try:
        return text.encode(codec)
    except UnicodeEncodeError as error:
        raise errors.DataError(f"the session's client_encoding lacks a character of {text!r}") from error


def _fits(character: str, codec: str) -> bool:
    try:
        character.encode(codec)
    except UnicodeEncodeError:
        return False
    return True


def _escape(character: str, in_json: bool) -> str:
    escaped = "\\x00" if character == "\0" else character.encode("ascii", "backslashreplace").decode()
    return escaped.replace("\\", "\\\\") if in_json else escaped
