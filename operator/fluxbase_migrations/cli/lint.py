"""``fluxbase-migrate lint``: what is wrong with the files, and what is risky in them."""

import argparse
from pathlib import Path

from fluxbase_migrations.cli.validate import show
from fluxbase_migrations.core.errors import MigrationError, describe
from fluxbase_migrations.core.names import UnknownFiles
from fluxbase_migrations.runner.commands import linting, validation
from fluxbase_migrations.runner.commands.linting import Options
from fluxbase_migrations.runner.commands.source import read_directories, scan
from fluxbase_migrations.runner.log import Log


def lint(directory: Path, given: argparse.Namespace, unknown_files: UnknownFiles, log: Log) -> int:
    """Print what was found; returns 1 if anything was."""
    silent = Log(write=lambda _line: None)  # what it would say is among the findings
    try:
        program = linting.program()
        try:
            source = scan(read_directories([str(directory)], silent), unknown_files, silent)
        except MigrationError as error:
            return show(directory, [validation.of_error(error.info)], 0, given.form)
        options = Options(given.config, tuple(given.exclude or ()), given.pg_version, program)
        found = [*validation.findings(source, None), *linting.findings(directory, source, options)]
    except MigrationError as error:
        log.error(describe(error.info))
        return 1
    return 1 if show(directory, found, len(source), given.form) or found else 0
