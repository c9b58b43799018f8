"""What both command lines are asked to do: the tables of golang-migrate's own tests, and their neighbours.

A case starts from a tracking row put there by hand, so that both start from the same and ours has no history
to lean on.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import product

NIL = -1
VERSIONS = range(NIL, 9)
"""Every version of the fixture, one below, one above, and those between that do not exist."""

Row = tuple[int, bool]
"""version, dirty."""


def body(name: str) -> str:
    """A statement that records that it ran."""
    return f"INSERT INTO public.executed (body) VALUES ('{name}');\n"


FIXTURE: Mapping[str, str] = {
    f"{version}_{title}.{direction}.sql": body(f"{version}/{direction}")
    for version, title, directions in (
        (1, "one", ("up", "down")),
        (3, "three", ("up",)),
        (4, "four", ("up", "down")),
        (5, "five", ("down",)),
        (7, "seven", ("up", "down")),
    )
    for direction in directions
}
"""golang-migrate's fixture: versions with an up file, a down file, or both."""


@dataclass(frozen=True)
class Case:
    """One command, given to both command lines on the same database and files."""

    id: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    start: Row | None = None
    """The tracking table's row before; None: no row."""
    files: Mapping[str, str | bytes] = field(default_factory=lambda: FIXTURE, hash=False)
    stdin: str = ""
    table: bool = True
    """Whether the tracking table exists before."""


@cache
def steps() -> tuple[Case, ...]:
    """Steps at each version with limits -2 to 2, and `up` and `down` without a limit."""
    found = []
    for version, limit in product(VERSIONS, (-2, -1, 0, 1, 2)):
        for verb in ("up", "down") if limit == 0 else ("up",) if limit > 0 else ("down",):
            words = (verb, str(abs(limit)))
            found.append(Case(f"{verb} {abs(limit)} at {version}", words, words, clean(version)))
    for version in VERSIONS:
        found.append(Case(f"up at {version}", ("up",), ("up",), clean(version)))
        found.append(
            Case(f"down everything at {version}", ("down", "--all"), ("down",), clean(version), stdin="y\n")
        )
        found.append(
            Case(f"down without a number at {version}", ("down",), ("down",), clean(version), stdin="y\n")
        )
    return tuple(found)


@cache
def gotos() -> tuple[Case, ...]:
    """From each version to each version."""
    found = []
    for start, target in product(VERSIONS, VERSIONS):
        if target == NIL:
            continue  # golang-migrate's command line cannot name it; see `arguments`
        words = ("goto", str(target))
        found.append(Case(f"goto {target} from {start}", words, words, clean(start)))
    return tuple(found)


@cache
def dirty() -> tuple[Case, ...]:
    """Every operation on each dirty version."""
    operations: tuple[tuple[str, tuple[str, ...], tuple[str, ...], str], ...] = (
        ("up", ("up",), ("up",), ""),
        ("up 1", ("up", "1"), ("up", "1"), ""),
        ("down 1", ("down", "1"), ("down", "1"), ""),
        ("down everything", ("down", "--all"), ("down",), "y\n"),
        ("goto 4", ("goto", "4"), ("goto", "4"), ""),
        ("goto 2", ("goto", "2"), ("goto", "2"), ""),
        ("version", ("version",), ("version",), ""),
        ("force 3", ("force", "3"), ("force", "3"), ""),
        ("force nil", ("force", "--", "-1"), ("force", "--", "-1"), ""),
    )
    return tuple(
        Case(f"{name} at dirty {version}", ours, theirs, (version, True), stdin=stdin)
        for (name, ours, theirs, stdin), version in product(operations, VERSIONS)
    )


@cache
def rows() -> tuple[Case, ...]:
    """What `version` reads from each row, and what `force` writes over it."""
    found = [
        Case(f"version of {row}", ("version",), ("version",), row)
        for row in ((1, False), (2, False), (0, False), (-1, False), (1, True), (-1, True), (9, True), None)
    ]
    found.append(Case("version without a table", ("version",), ("version",), table=False))
    for row, target in product((None, (1, False), (1, True), (2, False), (-1, True)), (-1, 0, 1, 2, 6, 99)):
        words = ("force", "--", str(target))
        found.append(Case(f"force {target} over {row}", words, words, row))
    found.append(Case("force 7 without a table", ("force", "7"), ("force", "7"), table=False))
    return tuple(found)


def _beside(names: Iterable[str]) -> dict[str, str | bytes]:
    """Files of these names, and one that is certainly a migration."""
    return {name: body(name) for name in [*names, "5_certain.up.sql"]}


@cache
def names() -> tuple[Case, ...]:
    """Which file names are migrations."""
    singles = (
        "-1_foobar.up.sql",
        "foobar.up.sql",
        "1.up.sql",
        "1_foobar.sql",
        "1_foobar.up",
        "1_foobar.down",
        "1_a.up.sql",
        "1_a.down.sql",
        "1_a.up.down.sql",
        "1_a.down.up.sql",
        "1_a.up.sql.bak",
        "1_a.up.txt",
        "1_.up.sql",
        "1_a.up.",
        "1_A.UP.sql",
        "1_a.Up.sql",
        "0_zero.up.sql",
        "007_seven.up.sql",
        "\N{ARABIC-INDIC DIGIT ONE}_arabic.up.sql",
        "1_ünïcode and spaces.up.sql",
        "README.md",
        ".1_hidden.up.sql",
        "9223372036854775807_last.up.sql",
        "9223372036854775808_beyond.up.sql",
        "18446744073709551616_beyond.up.sql",
    )
    pairs = (
        ("1_a.up.sql", "001_b.up.sql"),
        ("1_a.up.sql", "1_b.up.sql"),
        ("1_a.up.sql", "1_b.down.sql"),
        ("10_a.up.sql", "9_b.up.sql"),
    )
    sets = [(name,) for name in singles] + [*pairs]
    found = [Case(f"up with {' and '.join(one)}", ("up",), ("up",), files=_beside(one)) for one in sets]
    found.append(Case("up with no files", ("up",), ("up",), files={}))
    found.append(Case("up with no files at 1", ("up",), ("up",), (1, False), files={}))
    found.append(Case("version with no files", ("version",), ("version",), (1, False), files={}))
    return tuple(found)


@cache
def contents() -> tuple[Case, ...]:
    """What the bodies of files may be, and what is left when one fails."""
    first, last = body("first"), body("last")
    bodies: Mapping[str, str | bytes] = {
        "empty": "",
        "white space": " \r\n\t\n",
        "comments only": "-- nothing\n/* at /* all */ */",
        "semicolons only": ";;;",
        "no final semicolon": first.strip().rstrip(";"),
        "CRLF": f"{first}{last}".replace("\n", "\r\n"),
        "byte-order mark": b"\xef\xbb\xbf" + first.encode(),
        "invalid UTF-8": b"INSERT INTO public.executed (body) VALUES ('\xff');",
        "NUL byte": b"INSERT INTO public.executed (body) VALUES ('a');\n\0",
        "error in the last statement": f"{first}SELECT 1/0;",
        "syntax error": f"{first}SELEC 1;",
        "parameter-like text": "INSERT INTO public.executed (body) VALUES ('%s $1 ? :a');",
        "own transaction": f"BEGIN;\n{first}{last}COMMIT;",
        "own transaction, error inside": f"BEGIN;\n{first}SELECT 1/0;\nCOMMIT;",
        "own transaction, error after": f"BEGIN;\n{first}COMMIT;\nSELECT 1/0;",
        "own transaction, work after": f"BEGIN;\n{first}COMMIT;\n{last}",
        "commit in the middle": f"{first}COMMIT;\n{last}",
        "rollback in the middle": f"{first}ROLLBACK;\n{last}",
        "begin without commit": f"BEGIN;\n{first}",
        "savepoints": f"BEGIN;SAVEPOINT a;{first}ROLLBACK TO a;{last}COMMIT;",
        "dollar quotes": f"DO $do$ BEGIN {first} EXECUTE $x${last.strip()}$x$; END $do$;",
        "function with semicolons": (
            "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END;\n"
            "INSERT INTO public.executed (body) SELECT 'f' || public.f();"
        ),
        "concurrent index alone": "CREATE INDEX CONCURRENTLY executed_body ON public.executed (body);",
        "concurrent index beside others": (
            f"{first}CREATE INDEX CONCURRENTLY executed_body ON public.executed (body);\n{last}"
        ),
        "vacuum beside others": f"{first}VACUUM public.executed;\n{last}",
        "enum value and its use": (
            "ALTER TYPE public.mood ADD VALUE 'glad';\n"
            "INSERT INTO public.executed (body) VALUES ('glad'::public.mood::text);"
        ),
        "procedure that commits": f"DO $$ BEGIN {first} COMMIT; {last} END $$;",
        "copy from stdin": "COPY public.executed (body) FROM STDIN;\none\n\\.\n",
        "psql command": f"\\set a 1\n{first}",
        "deferred constraint fails": (
            "CREATE TABLE public.c (i int UNIQUE DEFERRABLE INITIALLY DEFERRED);\n"
            "INSERT INTO public.c VALUES (1), (1);"
        ),
        "drops the tracking table": f'{first}DROP TABLE "migrations"."app";',
        "search_path changed": f"SET search_path = pg_catalog;\n{first}",
        "advisory locks released": f"SELECT pg_advisory_unlock_all();\n{first}",
    }
    found = [
        Case(f"up, {what}", ("up",), ("up",), files={"1_it.up.sql": text, "2_next.up.sql": body("next")})
        for what, text in bodies.items()
    ]
    leak = {
        "1_it.up.sql": "SET search_path = pg_catalog;",
        "2_next.up.sql": "INSERT INTO executed (body) VALUES ('next');",
    }
    found.append(Case("up, session settings of the file before", ("up",), ("up",), files=leak))
    temporary = {"1_it.up.sql": "CREATE TEMP TABLE t (i int);", "2_next.up.sql": f"SELECT * FROM t;{last}"}
    found.append(Case("up, temporary table of the file before", ("up",), ("up",), files=temporary))
    broken = {**FIXTURE, "3_three.up.sql": f"{first}SELECT 1/0;", "4_four.down.sql": "SELECT 1/0;"}
    broken["1_one.down.sql"] = "SELECT 1/0;"
    for verb, version in (("up", NIL), ("down", 4), ("down", 1)):
        words = (verb, "2" if verb == "up" else "1")
        found.append(
            Case(f"{verb} of a file that fails at {version}", words, words, clean(version), files=broken)
        )
    older = {**FIXTURE, "2_two.up.sql": body("2/up")}
    found.append(Case("up over a file that came late", ("up",), ("up",), (4, False), files=older))
    return tuple(found)


@cache
def ahead() -> tuple[Case, ...]:
    """The database records a version that the source does not have."""
    commands: Mapping[str, str] = {
        "up": "",
        "up 1": "",
        "up 0": "",
        "down 1": "",
        "goto 4": "",
        "goto 99": "",
        "version": "",
        "force 7": "",
    }
    found = []
    for command, row in product(commands, ((99, False), (99, True))):
        words = tuple(command.split())
        state = "dirty" if row[1] else "clean"
        found.append(Case(f"{command} at {state} 99", words, words, row))
    return tuple(found)


@cache
def arguments() -> tuple[Case, ...]:
    """Arguments that are wrong, missing, or unusual."""
    lines = (
        "",
        "goto",
        "goto one",
        "goto -- -1",
        "up one",
        "up -- -1",
        "up 1 2",
        "down one",
        "down 1 2",
        "force",
        "force one",
        "force -- -2",
        "force -1",
        "upp",
        "up 99999999999999999999",
        "force 9223372036854775807",
        "force 9223372036854775808",
        "goto 18446744073709551615",
        "up 0001",
    )
    return tuple(Case(f"`{line}`", tuple(line.split()), tuple(line.split()), (4, False)) for line in lines)


def clean(version: int) -> Row | None:
    """The row of a clean version; nil has none."""
    return None if version == NIL else (version, False)


def every() -> Iterator[Case]:
    """All cases of all tables."""
    for table in (steps, gotos, dirty, rows, names, contents, ahead, arguments):
        yield from table()
