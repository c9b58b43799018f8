"""After a failure the command line says what to type next, where that is known."""

import shlex

import pytest

from fluxbase_migrations.cli.arguments import parser
from fluxbase_migrations.cli.next_step import Typed, next_step
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.core.result import ErrorInfo, Outcome

VERSIONS = (1, 2, 3)
UP, DOWN = "002_b.up.sql", "002_b.down.sql"


def told(
    words: str,
    outcome: Outcome,
    file: str | None = None,
    dirty: int | None = None,
    track: Track | None = None,
) -> str | None:
    typed = Typed(parser().parse_args(shlex.split(words)))
    info = ErrorInfo("it failed", file=file)
    return next_step(outcome, info, typed, lambda: VERSIONS, dirty_version=dirty, track=track)


@pytest.mark.parametrize(
    ("words", "outcome", "file", "step"),
    [
        ("up", Outcome.SQL_ERROR, UP, f"correct {UP}, then: fluxbase-migrate up"),
        ("up 2", Outcome.SQL_ERROR, UP, f"correct {UP}, then: fluxbase-migrate up 2"),
        ("goto 3 --source 'a b'", Outcome.INTERRUPTED, UP, "fluxbase-migrate --source 'a b' goto 3"),
        ("down --all --yes", Outcome.TRANSIENT, DOWN, "fluxbase-migrate down --all"),
        ("up", Outcome.INVALID_SOURCE, UP, "fluxbase-migrate validate"),
        ("up --track system", Outcome.OUT_OF_ORDER, None, "fluxbase-migrate --track system status"),
        ("up", Outcome.UNREACHABLE, None, None),
        ("up", Outcome.AUTHENTICATION_FAILED, None, None),
        ("up", Outcome.FOREIGN_TABLE, None, None),  # the hint has the command
        ("version", Outcome.TRANSIENT, None, None),
    ],
)
def test_the_step_fits_the_failure(words: str, outcome: Outcome, file: str | None, step: str | None) -> None:
    assert told(words, outcome, file) == step


@pytest.mark.parametrize("outcome", [Outcome.DIRTY, Outcome.UNPROVEN])
@pytest.mark.parametrize(
    ("file", "complete", "undone"),
    [
        (UP, "force 2", "force 1"),
        (DOWN, "force 1", "force 2"),
        ("001_a.up.sql", "force 1", "force -- -1"),
        ("001_a.down.sql", "force -- -1", "force 1"),
    ],
)
def test_a_dirty_version_has_a_force_for_each_answer(
    outcome: Outcome, file: str, complete: str, undone: str
) -> None:
    step = told("up --table a.b", outcome, file)
    assert step == (
        f"if what {file} does is complete: fluxbase-migrate --table a.b {complete}; "
        f"if it is undone: fluxbase-migrate --table a.b {undone}"
    )
    for command in (complete, undone):
        assert parser().parse_args(shlex.split(f"--table a.b {command}")).command == "force"


@pytest.mark.parametrize(
    ("words", "command", "step"),
    [
        ("up", "--from a.b", None),
        ("--table c.d up", "--from a.b --table c.d", None),
        ("--source s up", "--from a.b", "--source s baseline --from a.b"),
        ("--source s up 1", "--from a.b --table c.d", "--source s baseline --from a.b --table c.d"),
        ("--source s --table a.b up", "--from a.b --table c.d", "--source s baseline --from a.b --table c.d"),
        ("--database-url postgres://h/x up", "--from a.b", "--database-url … baseline --from a.b"),
        ("--source s up --track system", "--from a.b --track system",
         "--source s baseline --from a.b --track system"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "behind", ["", ", or spec.tracks.user.baseline: 2", "; in the set, table: c.d", " (x)"]
)
def test_a_version_of_another_tool_is_taken_over_with_the_options_that_were_typed(
    words: str, command: str, step: str | None, behind: str
) -> None:
    typed = Typed(parser().parse_args(shlex.split(words)))
    info = ErrorInfo("found", hint=f"to take it over: fluxbase-migrate baseline {command}{behind}")
    told = next_step(Outcome.FOREIGN_TABLE, info, typed, lambda: VERSIONS)
    assert told == (None if step is None else f"fluxbase-migrate {step}")


def test_a_dirty_version_without_its_file_has_its_own_force() -> None:
    assert told("up", Outcome.DIRTY, dirty=7) == "if version 7 is complete: fluxbase-migrate force 7"
    assert told("up", Outcome.DIRTY) is None


def test_of_both_tracks_the_one_that_failed_is_named() -> None:
    step = told("run", Outcome.DIRTY, dirty=4, track=Track.SYSTEM)
    assert step == "if version 4 is complete: fluxbase-migrate --track system force 4"


@pytest.mark.parametrize("flag", ["--database-url", "-database"])
def test_a_url_is_not_repeated(flag: str) -> None:
    step = told(f"up {flag} postgres://me:secret@db/x", Outcome.INTERRUPTED)
    assert step == f"fluxbase-migrate {flag} … up"


@pytest.mark.parametrize(
    ("outcome", "step"),
    [(Outcome.SQL_ERROR, "fluxbase-migrate run"), (Outcome.INVALID_SOURCE, None)],
)
def test_nobody_is_told_to_correct_a_built_in_file(outcome: Outcome, step: str | None) -> None:
    typed = Typed(parser().parse_args(["run"]))
    info = ErrorInfo("it failed", file="003_auth.up.sql")
    shown = next_step(outcome, info, typed, lambda: VERSIONS, track=Track.SYSTEM, built_in=True)
    assert shown == step
