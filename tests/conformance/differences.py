"""Where ours deliberately does otherwise than golang-migrate: the whole list.

``docs/compatibility.md`` tells users the same, and more that a black box does not show. A difference that is
not here fails its case; an entry that no case needs, or that users are not told of, fails as well.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from tests.conformance.cases import NIL, Case
from tests.conformance.twins import Seen

Aspects = Mapping[str, object]
"""Attributes of `Seen`."""


@dataclass(frozen=True)
class Difference:
    """One decision, and what is seen of it."""

    name: str
    documented: str
    """How its item in docs/compatibility.md begins."""
    reason: str
    cases: str
    """Pattern of the ids of the cases that show it."""
    ours: Aspects | Callable[[Case], Aspects]
    """What is otherwise with ours, perhaps depending on the case."""

    def among(self, cases: Iterable[Case]) -> list[Case]:
        """Those of the cases that this difference is about."""
        return [case for case in cases if re.fullmatch(self.cases, case.id)]

    def expect(self, case: Case, theirs: Seen) -> Seen:
        """What ours must show."""
        aspects = self.ours(case) if callable(self.ours) else self.ours
        return replace(theirs, **aspects)  # type: ignore[arg-type]  # aspects by name


def expect(case: Case, theirs: Seen) -> Seen:
    """What ours must show where golang-migrate showed ``theirs``."""
    found = [one for one in DIFFERENCES if one.among([case])]
    assert len(found) < 2, f"{case.id} is explained by {', '.join(one.name for one in found)}"
    return found[0].expect(case, theirs) if found else theirs


def one_step_down(case: Case) -> Aspects:
    """What `down 1` does from the case's version."""
    after: Mapping[int, tuple[int, tuple[str, ...]]] = {
        1: (NIL, ("1/down",)),
        3: (1, ()),
        4: (3, ("4/down",)),
        5: (4, ("5/down",)),
        7: (5, ("7/down",)),
    }
    if case.start is None:
        return {"code": 1, "message": "file does not exist"}
    if case.start[0] not in after:
        return {}  # refused by both: the version is not in the source
    version, bodies = after[case.start[0]]
    return {"rows": () if version == NIL else ((version, False),), "bodies": bodies}


REFUSED: Aspects = {"rows": (), "bodies": (), "code": 1, "message": "other error"}
"""Said before anything runs; the row stays as it was, which is nil in these cases."""

NEXT: Aspects = {"rows": ((2, False),), "code": 0, "message": "done"}
"""The file works, and so does the next."""

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "down is one step",
        "`down` without a number reverts everything, after asking",
        "`down` without a number reverts everything in golang-migrate, after a question. The habit of other"
        " tools is one step; everything is `down --all`, which asks.",
        r"down without a number at .*",
        one_step_down,
    ),
    Difference(
        "a .sql file that is no migration is an error",
        "a `.sql` file whose name does not parse",
        "golang-migrate skips it in silence, and a misspelt migration never runs.",
        r"up with (-1_foobar\.up|foobar\.up|1\.up|1_foobar|1_A\.UP|1_a\.Up|\N{ARABIC-INDIC DIGIT ONE}_arabic"
        r"\.up)\.sql",
        REFUSED,
    ),
    Difference(
        "a version above 2^63-1 is an error",
        "a version above 2^64-1 is skipped, from 2^63 it panics",
        "It does not fit the version column: golang-migrate panics, and above 2^64 skips it in silence.",
        r"up with \d+_beyond\.up\.sql",
        REFUSED,
    ),
    Difference(
        "a byte-order mark is skipped",
        "a byte-order mark is a syntax error",
        "Windows editors write it, PostgreSQL takes it for a syntax error.",
        r"up, byte-order mark",
        {**NEXT, "bodies": ("first", "next")},
    ),
    Difference(
        "bytes that are not text are refused before anything runs",
        "a NUL byte, UTF-16 or invalid UTF-8 fails in the server",
        "PostgreSQL would refuse them in the middle of a run, or read only up to a NUL.",
        r"up, (invalid UTF-8|NUL byte)",
        REFUSED,
    ),
    Difference(
        "an unfinished transaction is refused before it starts",
        "`BEGIN` without `COMMIT`",
        "A file that ends inside its own BEGIN fails dirty with one of golang-migrate's drivers and counts as"
        " applied, without being so, with the other.",
        r"up, begin without commit",
        REFUSED,
    ),
    Difference(
        "COPY … FROM STDIN is refused before it starts",
        "`COPY … FROM STDIN` hangs or fails",
        "Its rows are psql's input; sent as a statement they are a syntax error that leaves the row dirty.",
        r"up, copy from stdin",
        REFUSED,
    ),
    Difference(
        "psql's commands, and text that never ends, are refused before it starts",
        "psql's commands and an open comment fail in the server",
        "They can never work, and nothing was run, so nothing is dirty.",
        r"up, psql command",
        REFUSED,
    ),
    Difference(
        "statements that cannot run in a transaction may stand beside others",
        "`CREATE INDEX CONCURRENTLY`, `VACUUM`, … fail beside another statement",
        "golang-migrate sends a file as one implicit transaction, in which CREATE INDEX CONCURRENTLY, VACUUM"
        " or the use of a new enum value fail.",
        r"up, (concurrent index|vacuum) beside others|up, enum value and its use",
        lambda case: {**NEXT, "bodies": ("glad", "next") if "enum" in case.id else ("first", "last", "next")},
    ),
    Difference(
        "a file may drop the tracking table",
        "a file that drops the version table fails after its work is done",
        "It is made again in the same transaction, before the row is written. golang-migrate just fails.",
        r"up, drops the tracking table",
        {**NEXT, "bodies": ("first", "next")},
    ),
    Difference(
        "a file's session ends with it",
        "settings, role and temporary tables leak into later files",
        "Settings, roles and temporary tables leak into the files that happen to run after it on the same"
        " connection in golang-migrate, so that the same files mean something else one by one.",
        r"up, (session settings|temporary table) of the file before",
        lambda case: (
            {**NEXT, "bodies": ("next",)}
            if "settings" in case.id
            else {"rows": ((2, True),), "bodies": (), "code": 1, "message": "other error"}
        ),
    ),
    Difference(
        "wrong usage ends with exit code 2",
        "wrong arguments mostly end with exit code 1",
        "golang-migrate uses 1 for most of it, which scripts cannot tell from a failed migration, and ignores"
        " a surplus argument of `up`.",
        r"`(goto|goto one|goto -- -1|up one|up -- -1|down one|down 1 2|force|force one|force -- -2"
        r"|up 99999999999999999999|force 9223372036854775808|up 1 2)`",
        {"rows": ((4, False),), "bodies": (), "code": 2, "message": "other error"},
    ),
    Difference(
        "force takes -1 without two hyphens before it",
        "`force -1` is refused",
        "`force -1` has only one meaning.",
        r"`force -1`",
        {"rows": (), "code": 0, "message": "done"},
    ),
    Difference(
        "goto does not wrap around",
        "`goto 18446744073709551615` reverts everything, unasked",
        "`goto 18446744073709551615` is version -1 to golang-migrate, which reverts everything unasked.",
        r"`goto 18446744073709551615`",
        {"rows": ((4, False),), "bodies": (), "code": 2, "message": "other error"},
    ),
)
