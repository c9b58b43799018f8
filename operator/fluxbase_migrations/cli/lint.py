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


def lint(directory: Path, arguments: argparse.Namespace, unknown_files: UnknownFiles, log: Log) -> int:
    """Print the findings; returns 1 if there are any."""
    silent = Log(write=lambda _line: None)  # its warnings are among the findings
    try:
        program = linting.program()
        try:
            source = scan(read_directories([str(directory)], silent), unknown_files, silent)
        except MigrationError as error:
            return show(directory, [validation.of_error(error.info)], 0, arguments.form)
        options = Options(arguments.config, tuple(arguments.exclude or ()), arguments.pg_version, program)
        findings = [*validation.findings(source, None), *linting.findings(directory, source, options)]
    except MigrationError as error:
        log.error(describe(error.info))
        return 1
    return 1 if show(directory, findings, len(source), arguments.form) or findings else 0
