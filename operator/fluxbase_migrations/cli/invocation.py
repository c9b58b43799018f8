"""One call of ``fluxbase-migrate``: its command line, settings and migration files."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from fluxbase_migrations.cli import output
from fluxbase_migrations.cli.arguments import PROGRAM
from fluxbase_migrations.cli.options import DEFAULT_SOURCE, SOURCE_VARIABLE
from fluxbase_migrations.cli.usage import USAGE_ERROR
from fluxbase_migrations.core.defaults import CONNECT_PATIENCE, LOCK_TIMEOUT
from fluxbase_migrations.core.files import MigrationFiles
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import ExposurePolicy, OutOfOrderPolicy, Track, UnknownFiles
from fluxbase_migrations.core.text import decoded, visible
from fluxbase_migrations.runner.log import Log, LogFormat

if TYPE_CHECKING:
    from fluxbase_migrations.runner.commands.verbs import Setup
    from fluxbase_migrations.runner.connection.signals import Stop

RUNNING: Final = ("run", "up", "down", "goto")
"""Commands that run files."""


def usage_error(message: str) -> NoReturn:
    """End the program as argparse does when the command line is wrong."""
    print(f"{PROGRAM}: error: {visible(message)}", file=sys.stderr)
    raise SystemExit(USAGE_ERROR)


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command with its options and settings."""

    arguments: argparse.Namespace
    """The command line."""
    options: Mapping[str, Any]
    """The shared options, from the command line or from variables; only those that were set."""
    variables: Mapping[str, str]
    """Of the environment and the settings' files."""

    @property
    def command(self) -> str:
        """``up``, ``status`` and so on."""
        name: str = self.arguments.command
        return name

    @property
    def track(self) -> Track | None:
        """The track that was chosen."""
        return self.options.get("track")

    @property
    def unknown_files(self) -> UnknownFiles:
        """What to make of files that are no migrations."""
        policy: UnknownFiles = self.options.get("unknown_files", UnknownFiles.FAIL)
        return policy

    @property
    def source_path(self) -> str:
        """The directory of the user track's files."""
        return self._configured_source or DEFAULT_SOURCE

    @property
    def _configured_source(self) -> str | None:
        path = self.options.get("source") or self.variables.get(SOURCE_VARIABLE)
        return str(path) if path else None

    def is_built_in(self, track: Track | None) -> bool:
        """Whether the files of ``track`` are those that come with the program."""
        return track is Track.SYSTEM and "source" not in self.options

    def log(self) -> Log:
        """Where the command says what it does: on a terminal with a line that is kept up to date."""
        form = self.options.get("log_format", LogFormat.TEXT)
        timestamps = self.options.get("log_timestamps", False)
        if self.command in RUNNING and form is LogFormat.TEXT and output.is_terminal():
            from fluxbase_migrations.cli.live_line import LiveLine

            line = LiveLine(colours=output.colours())
            return Log(form, line.write, timestamps=timestamps, live=line)
        return Log(form, timestamps=timestamps)

    def setup(self, log: Log, stop: "Stop") -> "Setup":
        """The database, and how it is to be treated."""
        from fluxbase_migrations.runner.commands import verbs
        from fluxbase_migrations.runner.connection import dsn
        from fluxbase_migrations.runner.connection.table_name import TableName

        options = self.options
        url = options.get("database_url")
        variables = {name: decoded(value) for name, value in self.variables.items()}
        try:
            database = dsn.read(variables, None if url is None else decoded(url))
        except dsn.NotConfigured as error:
            usage_error(str(error))
        track = self.track or Track.USER
        named = TableName.parse(options["table"]) if "table" in options else None
        table = database.table(track, named, log)
        if table is None and track is Track.USER and "default_table" in options:
            table = TableName("", options["default_table"])
        foreign = (*map(TableName.parse, options.get("foreign_table", ())), *database.foreign(track))
        return verbs.Setup(
            database.parameters,
            database.hidden,
            database.settings(
                options.get("statement_timeout"),
                options.get("ddl_lock_timeout"),
                options.get("connect_timeout", CONNECT_PATIENCE),
            ),
            log,
            stop,
            track=track,
            table=table,
            foreign_tables=foreign,
            built_in=self.is_built_in(track),
            lock_timeout=options.get("lock_timeout", LOCK_TIMEOUT),
            recovery=options.get("recovery"),
            out_of_order=options.get("out_of_order", OutOfOrderPolicy.WARN),
            exposure=options.get("exposure", ExposurePolicy.WARN),
        )

    def files(self, log: Log) -> MigrationFiles:
        """The files of the track that was chosen."""
        if self.is_built_in(self.track):
            return built_in_files()
        return self._directory(self.source_path, log)

    def files_if_any(self, log: Log) -> MigrationFiles | None:
        """As :meth:`files`, for a command that does without; None where there are none."""
        if not Path(self.source_path).is_dir():
            return None
        files = self.files(log)
        return files if files.versions else None

    def tracks_to_run(self, log: Log) -> list[tuple[Track, str | None, Callable[[], MigrationFiles]]]:
        """``run``: system from the image, then user from where it is configured, if it is."""
        tracks: list[tuple[Track, str | None, Callable[[], MigrationFiles]]] = [
            (Track.SYSTEM, None, built_in_files)
        ]
        path = self._configured_source
        if path is not None:
            tracks.append((Track.USER, path, lambda: self._directory(path, log)))
        return tracks

    def tracks_to_show(self, log: Log) -> list[tuple[Track, MigrationFiles]]:
        """The track that was chosen, or both; without a directory, the user track has no files."""
        if self.track is not None:
            return [(self.track, self.files(log))]
        path = self.source_path
        exists = self._configured_source is not None or Path(path).is_dir()
        user_files = self._directory(path, log) if exists else MigrationFiles({})
        return [(Track.SYSTEM, built_in_files()), (Track.USER, user_files)]

    def _directory(self, path: str, log: Log) -> MigrationFiles:
        from fluxbase_migrations.runner.commands.source import read_directories, scan

        return scan(read_directories([path], log), self.unknown_files, log)


def built_in_files() -> MigrationFiles:
    """The system track's files."""
    from fluxbase_migrations import system

    return MigrationFiles.scan(system.files())
