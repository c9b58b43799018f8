"""What differs from run to run, and what stands for it in the docs: docs/terminal.md says so at its top.

A placeholder is padded to the width of what it stands for where a column follows, so that tables stay as they
are; the widths of columns are not compared.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

_TOOK: Final = r"(?:\d+ms|\d+\.\ds)"
DIGEST: Final = "c116fd360e8a631cce7f703a4255e1ada6dbdd622851e68ddee799a1d5f2597c"
_PATTERNS: Final = (
    # Times
    (r"\b\d{4}-\d\d-\d\d(?P<t>[ T])\d\d:\d\d:\d\d(?:\.\d+)?(?=\+00:00|Z|\b)", "2026-01-31{t}12:00:00"),
    # How long something took: in a log, a table or a plan, in JSON, in a status, on the live line
    (rf"\btook={_TOOK}", "took=12ms"),
    (rf"(?<=  ){_TOOK}(?=  |$)|(?<=[:)] ){_TOOK}(?=[:,])|(?<=\(){_TOOK}(?=\))", "12ms"),
    (r'(?<="seconds": )[\d.]+', "0.012"),
    (r"(?<=\| )(?:\d+m)?\d+(?:\.\d)?s\b", "12.0s"),
    # Ages in a table, and the time since a command began to wait
    (r"(?<=  )(?:\d+m)?\d+s(?=  |$)", "5s"),
    (r"(?<=: )(?:\d+m)?\d+s(?=: )", "2s"),
    # Who, where, what it is called
    (r"\bada@[\w.-]+", "ada@laptop"),
    (r"\b127\.0\.0\.1\b", "localhost"),
    (r"\bpid \d+\b", "pid 4711"),
    (r"\bpath=/\S+/migrations/user\b", "path=/migrations/user"),
    (r"\bshop-(?P<track>sys|usr)-[a-z2-7]{10}\b", "shop-{track}-q4m2x7k5ab"),
    (r"(?<=\bsha256:)[0-9a-f]{64}\b", DIGEST),
    (r"(?<=\bsha256:)[0-9a-f]{12}\b", DIGEST[:12]),
    (r"(?<=requested-at=2026-01-31T12:00:00Z-)[0-9a-f]{4}", "1a2b"),
)
"""What each matches is replaced; groups are put in where they are named."""


def normalised(line: str, hidden: Mapping[str, str]) -> str:
    """``line`` without what differs; ``hidden`` are this run's own words."""
    own = ((rf"\b{re.escape(text)}\b", name) for text, name in hidden.items())
    for pattern, placeholder in (*own, *_PATTERNS):
        line = re.sub(rf"(?P<found>{pattern})(?P<room> *)", _replacing(placeholder), line)
    return line.rstrip()


def _replacing(placeholder: str) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        text, room = placeholder.format(**match.groupdict("")), len(match["room"])
        if room >= 2:  # a column follows
            room = max(2, room + len(match["found"]) - len(text))
        return text + " " * room

    return replace


def comparable(line: str) -> str:
    """``line`` without the widths of columns, which depend on what was replaced."""
    return re.sub(r" +", " ", line).rstrip()
