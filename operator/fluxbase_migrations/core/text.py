"""Text from outside, made safe to print: a server's messages, names of files and sessions.

Control characters, line breaks and marks that turn the direction of writing are shown as escapes, so that
such text can neither pass for another line nor repaint the screen.
"""

import re
from typing import Any, Final

_CONTROL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u2028\u2029"  # line and paragraph separator
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction of writing
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"  # invisible marks
)
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_SHORT_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LEFT_OUT: Final = " … ({count} characters left out) … "


def visible(text: str) -> str:
    r"""``text`` with control characters as escapes like ``\n`` and ``\x1b``; all else stays as it is.

    A file name that Python could not decode comes out as the UTF-8 that it is, and where it is none, its
    bytes as escapes.
    """
    if text.isprintable():
        return text
    return _CONTROL.sub(_escape, decoded(text))


def visible_in(value: Any) -> Any:
    """``value``, which is made of what JSON can hold, with every string in it :func:`visible`."""
    match value:
        case str():
            return visible(value)
        case dict():
            return {visible(str(name)): visible_in(item) for name, item in value.items()}
        case list() | tuple():
            return [visible_in(item) for item in value]
        case _:
            return value


def shortened(text: str, limit: int) -> str:
    """At most ``limit`` characters: the middle of a longer text is left out, and that is said."""
    if len(text) <= limit:
        return text
    end = limit // 4
    longest_note = _LEFT_OUT.format(count=len(text))
    start = max(limit - end - len(longest_note), 0)
    return text[:start] + _LEFT_OUT.format(count=len(text) - start - end) + text[-end:]


def decoded(text: str) -> str:
    """``text`` that came from outside as UTF-8, also where Python's locale could not make it out."""
    if not _SURROGATES.search(text):
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return _SHORT_ESCAPES.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def cut(text: str, chars: int) -> str:
    """Shorten ``text`` to at most ``chars`` characters, with an ellipsis where something is missing."""
    return text if len(text) <= chars else text[: chars - 1] + "…"


def elapsed(seconds: float) -> str:
    """How long something took, as people read it: ``27ms``, ``1.3s``, ``5m3s``, ``2h5m``."""
    if seconds < 0.9995:
        return f"{round(seconds * 1000)}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60}m"
