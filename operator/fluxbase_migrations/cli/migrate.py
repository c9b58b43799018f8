"""``fluxbase-migrate``: a thin layer of arguments over :mod:`fluxbase_migrations.runner.commands`.

Imports are late: ``--help`` and ``create`` need no database driver.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from fluxbase_migrations import __version__
from fluxbase_migrations.cli import config, process_list
from fluxbase_migrations.core.files import MAX_VERSION, NIL, Source
from fluxbase_migrations.core.names import OutOfOrder, Recovery, Track
from fluxbase_migrations.runner.log import Log, LogFormat
from fluxbase_migrations.runner.signals import OnSignal, Stop

if TYPE_CHECKING:
    from fluxbase_migrations.runner.commands import Setup

USAGE_ERROR: Final = 2
DEFAULT_SOURCE: Final = "migrations"
SOURCE_VARIABLE: Final = "DB_USER_MIGRATIONS_PATH"


def _one_of(kind: type[StrEnum]) -> Callable[[str], StrEnum]:
    """An option's value among an enumeration's, in any case."""

    def parse(text: str) -> StrEnum:
        for one in kind:
            if one.value.lower() == text.strip().lower():
                return one
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(kind)}")

    return parse


def _seconds(text: str) -> float:
    try:
        return config.seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _version(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > MAX_VERSION:
        raise argparse.ArgumentTypeError(f"{text!r} is not a version")
    return int(text)


def _forced(text: str) -> int:
    return NIL if text == str(NIL) else _version(text)


_OPTIONS: Final[tuple[tuple[str, str, Callable[[str], Any], str], ...]] = (
    ("--database-url", "DATABASE_URL", str, "postgres://user:password@host:5432/name"),
    (
        "--source",
        "FLUXBASE_SOURCE",
        str,
        f"directory of the files (default: {SOURCE_VARIABLE}, or {DEFAULT_SOURCE})",
    ),
    ("--track", "FLUXBASE_TRACK", _one_of(Track), "system or user (default: user)"),
    ("--table", "FLUXBASE_TABLE", str, "tracking table, as schema.name (default: the track's)"),
    (
        "--connect-timeout",
        "FLUXBASE_CONNECT_TIMEOUT",
        _seconds,
        "try this long to reach the server; 0 tries once (default: 1m)",
    ),
    (
        "--lock-timeout",
        "FLUXBASE_LOCK_TIMEOUT",
        _seconds,
        "wait this long for the migration lock (default: 5m)",
    ),
    (
        "--ddl-lock-timeout",
        "FLUXBASE_DDL_LOCK_TIMEOUT",
        _seconds,
        "PostgreSQL's lock_timeout for the statements",
    ),
    ("--statement-timeout", "FLUXBASE_STATEMENT_TIMEOUT", _seconds, "PostgreSQL's own (default: none)"),
    ("--log-format", "LOG_FORMAT", _one_of(LogFormat), "text or json"),
    (
        "--recovery",
        "FLUXBASE_RECOVERY",
        _one_of(Recovery),
        "automatic, proven or manual: what to do on a dirty row",
    ),
    ("--out-of-order", "FLUXBASE_OUT_OF_ORDER", _one_of(OutOfOrder), "warn, fail or ignore"),
    ("--on-signal", "FLUXBASE_ON_SIGNAL", _one_of(OnSignal), "auto, finish or cancel"),
)


def parser() -> argparse.ArgumentParser:
    """Every command and option; options may stand before or after the command."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    for flag, variable, kind, text in _OPTIONS:
        common.add_argument(flag, type=kind, help=f"{text} [{variable}]", metavar="…")
    top = argparse.ArgumentParser(
        prog="fluxbase-migrate",
        parents=[common],
        description="PostgreSQL migrations, compatible with golang-migrate's files and version tables.",
        epilog="Settings come from flags, then the environment, then .env, then fluxbase.yaml.",
    )
    top.add_argument("--version", action="version", version=f"fluxbase-migrate {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, parents=[common], help=text, description=text)

    add("run", "apply system, then user migrations, as a platform start does")
    add("job", "run what FLUXBASE_JOB describes (the operator's Jobs do this)")
    add("up", "apply all or the next N migrations").add_argument(
        "count", nargs="?", type=_version, metavar="N"
    )
    down = add("down", "revert the last migration, the last N, or all")
    down.add_argument("count", nargs="?", type=_version, metavar="N")
    down.add_argument("--all", action="store_true", help="revert everything; asks first")
    down.add_argument("--yes", action="store_true", help="do not ask")
    add("goto", "go up or down to version V").add_argument("target", type=_version, metavar="V")
    add("force", "record version V as applied and clean, running nothing; -1 is none").add_argument(
        "target", type=_forced, metavar="V"
    )
    add("version", "print the recorded version")
    add("history", "print what was done, by whom and when").add_argument(
        "-n", type=_version, default=20, metavar="N"
    )
    create = add("create", "make an empty pair of files with the next number")
    create.add_argument("name", metavar="NAME")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and run; returns the exit code: 0 done or no change, 1 failed, 2 usage."""
    given = parser().parse_args(arguments)
    if "database_url" in given:
        process_list.hide(given.database_url)
    try:
        variables = config.load(os.environ, Path.cwd())
        chosen = _chosen(given, variables)
    except (config.ConfigError, argparse.ArgumentTypeError) as error:
        _usage(str(error))
    if given.command == "create":
        from fluxbase_migrations.cli.create import create

        return create(Path(_source_path(chosen, variables)), given.name)
    config.export_libpq(variables)
    if given.command == "job":
        from fluxbase_migrations.runner.job import main as job

        return job()
    return _database_command(given, chosen, variables)


def _usage(message: str) -> NoReturn:
    sys.stderr.write(f"fluxbase-migrate: error: {message}\n")
    raise SystemExit(USAGE_ERROR)


def _chosen(given: argparse.Namespace, variables: Mapping[str, str]) -> dict[str, Any]:
    """The options: flags, or else variables."""
    chosen = {}
    for flag, variable, kind, _ in _OPTIONS:
        name = flag.removeprefix("--").replace("-", "_")
        if name in given:
            chosen[name] = getattr(given, name)
        elif value := variables.get(variable):
            try:
                chosen[name] = kind(value)
            except argparse.ArgumentTypeError as error:
                raise config.ConfigError(f"{variable}: {error}") from None
    return chosen


def _source_path(chosen: Mapping[str, Any], variables: Mapping[str, str]) -> str:
    return str(chosen.get("source") or variables.get(SOURCE_VARIABLE) or DEFAULT_SOURCE)


def _database_command(given: argparse.Namespace, chosen: dict[str, Any], variables: dict[str, str]) -> int:
    stop = Stop(chosen.get("on_signal", OnSignal.AUTO))
    stop.install()
    log = Log(chosen.get("log_format", LogFormat.TEXT))
    from fluxbase_migrations.runner import commands

    def act() -> int:
        setup = _setup(chosen, variables, log, stop)
        match given.command:
            case "run":
                return commands.run_tracks(setup, _tracks(chosen, variables, log))
            case "version":
                return _print_version(commands.version(setup), log)
            case "history":
                from fluxbase_migrations.cli.history import show

                return show(commands.history(setup, given.n))
            case "force":
                return commands.force(setup, given.target)
            case "goto":
                return commands.goto(setup, _source(chosen, variables, log), given.target)
            case "up":
                return commands.up(setup, _source(chosen, variables, log), given.count)
            case "down":
                if given.all and not given.yes and not _confirmed():
                    log.error("not confirmed, nothing was reverted")
                    return 1
                limit = None if given.all else 1 if given.count is None else given.count
                return commands.down(setup, _source(chosen, variables, log), limit)
        raise AssertionError(given.command)

    return commands.guarded(act, log)


def _setup(chosen: dict[str, Any], variables: dict[str, str], log: Log, stop: Stop) -> "Setup":
    from fluxbase_migrations.runner import commands, dsn, session, tracking

    try:
        table = tracking.Table.parse(chosen["table"]) if "table" in chosen else None
    except ValueError as error:
        _usage(f"--table: {error}")
    parameters = dsn.parameters(variables, chosen.get("database_url"))
    return commands.Setup(
        parameters,
        dsn.secrets(parameters, variables),
        session.Settings(
            chosen.get("statement_timeout", 0.0),
            chosen.get("ddl_lock_timeout"),
            chosen.get("connect_timeout", session.CONNECT_PATIENCE),
        ),
        log,
        stop,
        track=chosen.get("track", Track.USER),
        table=table,
        lock_timeout=chosen.get("lock_timeout", 300.0),
        recovery=chosen.get("recovery"),
        out_of_order=chosen.get("out_of_order", OutOfOrder.WARN),
    )


def _source(chosen: Mapping[str, Any], variables: Mapping[str, str], log: Log) -> Source:
    """The files of the track that was chosen."""
    if chosen.get("track") is Track.SYSTEM and "source" not in chosen:
        return _built_in()
    return _directory(_source_path(chosen, variables), log)


def _built_in() -> Source:
    from fluxbase_migrations import system

    return Source.scan(system.files())


def _directory(path: str, log: Log) -> Source:
    from fluxbase_migrations.runner.source import read_directories

    return Source.scan(read_directories([path], log))


def _tracks(
    chosen: Mapping[str, Any], variables: Mapping[str, str], log: Log
) -> list[tuple[Track, str | None, Callable[[], Source]]]:
    """``run``: system from the image, then user from where it is configured, if it is."""
    tracks: list[tuple[Track, str | None, Callable[[], Source]]] = [(Track.SYSTEM, None, _built_in)]
    path = chosen.get("source") or variables.get(SOURCE_VARIABLE)
    if path:
        tracks.append((Track.USER, str(path), lambda: _directory(str(path), log)))
    return tracks


def _print_version(row: Any, log: Log) -> int:
    if row.version == NIL:
        log.error("no migration")
        return 1
    print(row)
    return 0


def _confirmed() -> bool:
    print("Are you sure you want to apply all down migrations? [y/N]", file=sys.stderr)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


if __name__ == "__main__":
    sys.exit(main())
