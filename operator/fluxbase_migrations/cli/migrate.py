"""``fluxbase-migrate``: a thin layer of arguments over :mod:`fluxbase_migrations.runner.commands.verbs`.

Imports are late: ``--help`` and ``create`` need no database driver.
"""

import argparse
import contextlib
import math
import os
import select
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from fluxbase_migrations.cli import completion, config, output
from fluxbase_migrations.cli.arguments import (
    DEFAULT_SOURCE,
    DETAILED_EXITCODE,
    PROGRAM,
    SOURCE_VARIABLE,
    chosen_options,
    parser,
    without_connection,
)
from fluxbase_migrations.cli.golang_arguments import without_booleans
from fluxbase_migrations.core.defaults import CONNECT_PATIENCE, LOCK_TIMEOUT
from fluxbase_migrations.core.errors import Dirty, MigrationError
from fluxbase_migrations.core.files import NIL, MigrationFiles
from fluxbase_migrations.core.names import ExposurePolicy, OutOfOrderPolicy, Track, UnknownFiles
from fluxbase_migrations.core.result import ErrorInfo, Outcome, Result
from fluxbase_migrations.core.text import decoded, visible
from fluxbase_migrations.runner.connection.signals import OnSignal, Stop
from fluxbase_migrations.runner.log import Log, LogFormat

if TYPE_CHECKING:
    from fluxbase_migrations.runner.commands.verbs import Setup

USAGE_ERROR: Final = 2
_READING: Final = ("version", "status", "history", "plan")
"""Commands that change nothing in the database."""
_RUNNING: Final = ("run", "up", "down", "goto")
"""Commands that run files."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and run; returns the exit code: 0 done or no change, 1 failed, 2 usage."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return _run(words)
    except SystemExit as error:
        if error.code == USAGE_ERROR and DETAILED_EXITCODE in words:
            raise SystemExit(1) from None  # 2 says that something is pending
        raise


def _run(words: Sequence[str]) -> int:
    if completion.ASKED in os.environ:
        completion.answer(parser())
    given = parser(words).parse_args(without_booleans(words))
    if given.command == "down":
        given.all, given.yes = given.all or given.all_unasked, given.yes or given.all_unasked
        if given.all and given.count is not None:
            _usage("down takes a number or --all, not both")
    if given.command == "plan" and given.count is not None and given.to is not None:
        _usage("plan takes a number or --to V, not both")
    if given.command == "baseline" and (given.target is None) == (given.other is None):
        _usage("baseline takes a version or --from SCHEMA.NAME")
    if given.command == "completion":
        return completion.script(PROGRAM, given.shell)
    if given.command == "system":
        from fluxbase_migrations.system import roles_sql

        print(roles_sql(given.login), end="")
        return 0
    try:
        variables = config.load(os.environ, _working_directory())
        chosen = chosen_options(given, variables)
    except config.ConfigError as error:
        _usage(without_connection(str(error)))
    if given.command == "config":
        from fluxbase_migrations.cli.effective import show as show_config

        located = config.located(os.environ, _working_directory())
        config.export_libpq(variables)
        return show_config(given, located)
    if given.command == "create":
        return _create(given, chosen, variables)
    if given.command == "validate":
        from fluxbase_migrations.cli.validate import validate

        directory = Path(given.directory or _source_path(chosen, variables))
        unknown_files = chosen.get("unknown_files", UnknownFiles.FAIL)
        return validate(directory, given.form, write=given.write, unknown_files=unknown_files)
    if given.command == "import":
        from fluxbase_migrations.cli.importing import Tool
        from fluxbase_migrations.cli.importing.command import import_files

        target = Path(given.to or _source_path(chosen, variables))
        return import_files(Tool(given.tool), Path(given.directory), target, dry_run=given.dry_run)
    if given.command == "lint":
        from fluxbase_migrations.cli.lint import lint

        directory = Path(given.directory or _source_path(chosen, variables))
        return lint(
            directory, given, chosen.get("unknown_files", UnknownFiles.FAIL), _log(chosen, given.command)
        )
    config.export_libpq(variables)
    if given.command == "job":
        from fluxbase_migrations.runner.commands.job import main as job

        return job()
    return _database_command(given, chosen, variables)


def _create(given: argparse.Namespace, chosen: Mapping[str, Any], variables: Mapping[str, str]) -> int:
    from fluxbase_migrations.cli.create import GolangNumbers, create

    try:
        golang = GolangNumbers.of(given)
    except ValueError as error:
        _usage(str(error))
    if golang is None:
        return create(Path(_source_path(chosen, variables)), given.name)
    return create(Path(getattr(given, "dir", ".")), given.name, golang.prefix)


def _usage(message: str) -> NoReturn:
    print(f"{PROGRAM}: error: {visible(message)}", file=sys.stderr)
    raise SystemExit(USAGE_ERROR)


def _working_directory() -> Path:
    """As it is called, for messages; one that is deleted has no name, and no files."""
    try:
        return Path.cwd()
    except OSError:
        return Path()


def _source_path(chosen: Mapping[str, Any], variables: Mapping[str, str]) -> str:
    return str(chosen.get("source") or variables.get(SOURCE_VARIABLE) or DEFAULT_SOURCE)


def _database_command(given: argparse.Namespace, chosen: dict[str, Any], variables: dict[str, str]) -> int:
    policy = chosen.get("on_signal", OnSignal.AUTO)
    # Nobody kills this process after a grace period that it knows of.
    stop = Stop(policy, math.inf) if policy is OnSignal.FINISH else Stop(policy)
    stop.install()
    log = _log(chosen, given.command)
    from fluxbase_migrations.runner.commands import verbs
    from fluxbase_migrations.runner.connection.table_name import TableName

    def act() -> int:
        setup = _setup(chosen, variables, log, stop)
        match given.command:
            case "run":
                return verbs.run_tracks(setup, _tracks(chosen, variables, log), track_failed)
            case "version":
                return _print_version(verbs.version(setup), log)
            case "status":
                from fluxbase_migrations.cli.status import show as show_status

                return show_status(verbs.status(setup, _sources(chosen, variables, log)), given.form)
            case "plan":
                from fluxbase_migrations.cli.plan import plan

                if given.count is not None or given.to is not None:
                    chosen.setdefault("track", Track.USER)  # as `up` and `goto`
                return plan(setup, _sources(chosen, variables, log), given)
            case "history":
                from fluxbase_migrations.cli.history import show

                limit = None if given.all else given.n
                return show(verbs.history(setup, limit, given.of_version), given.form)
            case "force":
                return verbs.force(setup, given.target)
            case "baseline":
                other = None if given.other is None else TableName.parse(given.other)
                files = None if other is None else _files_at_hand(chosen, variables, log)
                return verbs.baseline(setup, given.target, other, files)
            case "goto":
                return verbs.goto(setup, _source(chosen, variables, log), given.target)
            case "up":
                return verbs.up(setup, _source(chosen, variables, log), given.count)
            case "down":
                if given.all and not given.yes and not _confirmed(stop):
                    log.error("not confirmed, nothing was reverted")
                    return 1
                limit = None if given.all else 1 if given.count is None else given.count
                return verbs.down(setup, _source(chosen, variables, log), limit)
        raise AssertionError(given.command)

    def act_or_leave() -> int:
        with stop.at_once():
            return act()

    def failed(error: MigrationError) -> None:
        version = error.version if isinstance(error, Dirty) else None
        _tell_next_step(given, chosen, variables, error.outcome, error.info, version)

    def track_failed(track: Track, result: Result) -> None:
        if result.error is not None:
            version = result.version if result.dirty else None
            _tell_next_step(given, chosen, variables, result.outcome, result.error, version, track)

    return verbs.guarded(act_or_leave if given.command in _READING else act, log, failed)


def _tell_next_step(
    given: argparse.Namespace,
    chosen: dict[str, Any],
    variables: Mapping[str, str],
    outcome: Outcome,
    info: ErrorInfo,
    dirty_version: int | None,
    track: Track | None = None,
) -> None:
    """What to type next, on standard error: the log's lines are read by programs."""
    from fluxbase_migrations.cli.next_step import Typed, next_step

    # `run` takes the system track from the image, whatever --source says.
    system = (track or chosen.get("track")) is Track.SYSTEM
    built_in = system and (track is not None or "source" not in chosen)

    def versions() -> Sequence[int]:
        silent = Log(write=lambda _line: None)
        try:
            return tuple((_built_in() if built_in else _source(chosen, variables, silent)).versions)
        except MigrationError:
            return ()

    typed = Typed(given)
    step = next_step(
        outcome, info, typed, versions, dirty_version=dirty_version, track=track, built_in=built_in
    )
    if step is not None:
        with contextlib.suppress(OSError, ValueError):
            print(f"next: {visible(step)}", file=sys.stderr, flush=True)


def _log(chosen: Mapping[str, Any], command: str) -> Log:
    form, timestamps = chosen.get("log_format", LogFormat.TEXT), chosen.get("log_timestamps", False)
    if command in _RUNNING and form is LogFormat.TEXT and output.is_terminal():
        from fluxbase_migrations.cli.live_line import LiveLine

        line = LiveLine(colours=output.colours())
        return Log(form, line.write, timestamps=timestamps, live=line)
    return Log(form, timestamps=timestamps)


def _setup(chosen: dict[str, Any], variables: dict[str, str], log: Log, stop: Stop) -> "Setup":
    from fluxbase_migrations.runner.commands import verbs
    from fluxbase_migrations.runner.connection import dsn
    from fluxbase_migrations.runner.connection.table_name import TableName

    table = TableName.parse(chosen["table"]) if "table" in chosen else None
    url = chosen.get("database_url")
    variables = {name: decoded(value) for name, value in variables.items()}
    try:
        database = dsn.read(variables, None if url is None else decoded(url))
    except dsn.NotConfigured as error:
        _usage(str(error))
    track = chosen.get("track", Track.USER)
    table = database.table(track, table, log)
    if table is None and track is Track.USER and "default_table" in chosen:
        table = TableName("", chosen["default_table"])
    return verbs.Setup(
        database.parameters,
        database.hidden,
        database.settings(
            chosen.get("statement_timeout"),
            chosen.get("ddl_lock_timeout"),
            chosen.get("connect_timeout", CONNECT_PATIENCE),
        ),
        log,
        stop,
        track=track,
        table=table,
        foreign_tables=(
            *map(TableName.parse, chosen.get("foreign_table", ())),
            *database.foreign(track),
        ),
        built_in=track is Track.SYSTEM and "source" not in chosen,
        lock_timeout=chosen.get("lock_timeout", LOCK_TIMEOUT),
        recovery=chosen.get("recovery"),
        out_of_order=chosen.get("out_of_order", OutOfOrderPolicy.WARN),
        exposure=chosen.get("exposure", ExposurePolicy.WARN),
    )


def _source(chosen: Mapping[str, Any], variables: Mapping[str, str], log: Log) -> MigrationFiles:
    """The files of the track that was chosen."""
    if chosen.get("track") is Track.SYSTEM and "source" not in chosen:
        return _built_in()
    return _directory(_source_path(chosen, variables), chosen, log)


def _files_at_hand(
    chosen: Mapping[str, Any], variables: Mapping[str, str], log: Log
) -> MigrationFiles | None:
    """The files of the track, where they are: what only looks at them does without."""
    if not Path(_source_path(chosen, variables)).is_dir():
        return None
    found = _source(chosen, variables, log)
    return found if found.versions else None


def _built_in() -> MigrationFiles:
    from fluxbase_migrations import system

    return MigrationFiles.scan(system.files())


def _directory(path: str, chosen: Mapping[str, Any], log: Log) -> MigrationFiles:
    from fluxbase_migrations.runner.commands.source import read_directories, scan

    unknown_files = chosen.get("unknown_files", UnknownFiles.FAIL)
    return scan(read_directories([path], log), unknown_files, log)


def _tracks(
    chosen: Mapping[str, Any], variables: Mapping[str, str], log: Log
) -> list[tuple[Track, str | None, Callable[[], MigrationFiles]]]:
    """``run``: system from the image, then user from where it is configured, if it is."""
    tracks: list[tuple[Track, str | None, Callable[[], MigrationFiles]]] = [(Track.SYSTEM, None, _built_in)]
    path = chosen.get("source") or variables.get(SOURCE_VARIABLE)
    if path:
        tracks.append((Track.USER, str(path), lambda: _directory(str(path), chosen, log)))
    return tracks


def _sources(
    chosen: Mapping[str, Any], variables: Mapping[str, str], log: Log
) -> list[tuple[Track, MigrationFiles]]:
    """For `status`: the track that was chosen, or both; without a directory, what the history knows."""
    if "track" in chosen:
        return [(chosen["track"], _source(chosen, variables, log))]
    path = _source_path(chosen, variables)
    named = "source" in chosen or variables.get(SOURCE_VARIABLE)
    user = _directory(path, chosen, log) if named or Path(path).is_dir() else MigrationFiles({})
    return [(Track.SYSTEM, _built_in()), (Track.USER, user)]


def _print_version(row: Any, log: Log) -> int:
    if row.version == NIL:
        log.error("no migration (dirty)" if row.dirty else "no migration")
        return 1
    return output.answer([str(row)])


def _confirmed(stop: Stop) -> bool:
    """Whether somebody said yes; a signal, or nobody there to ask, is a no."""
    print("Are you sure you want to apply all down migrations? [y/N]", file=sys.stderr)
    if sys.stdin is None:
        return False
    select.select([sys.stdin, stop.fileno], [], [])
    return stop.signal is None and sys.stdin.readline().strip().lower() in ("y", "yes")


if __name__ == "__main__":
    sys.exit(main())
