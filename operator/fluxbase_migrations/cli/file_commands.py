"""The commands of ``fluxbase-migrate`` that need no database."""

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from fluxbase_migrations.cli import completion, config
from fluxbase_migrations.cli.arguments import PROGRAM
from fluxbase_migrations.cli.invocation import Invocation, usage_error


def working_directory() -> Path:
    """As it is called, for messages; one that is deleted has no name, and no files."""
    try:
        return Path.cwd()
    except OSError:
        return Path()


def _completion(arguments: argparse.Namespace) -> int:
    return completion.script(PROGRAM, arguments.shell)


def _system(arguments: argparse.Namespace) -> int:
    from fluxbase_migrations.system import roles_sql

    print(roles_sql(arguments.login), end="")
    return 0


def _config(call: Invocation) -> int:
    from fluxbase_migrations.cli.effective import show

    located = config.located(os.environ, working_directory())
    config.export_libpq(call.variables)
    return show(call.arguments, located)


def _create(call: Invocation) -> int:
    from fluxbase_migrations.cli.create import GolangNumbers, create

    try:
        golang = GolangNumbers.of(call.arguments)
    except ValueError as error:
        usage_error(str(error))
    if golang is None:
        return create(Path(call.source_path), call.arguments.name)
    return create(Path(getattr(call.arguments, "dir", ".")), call.arguments.name, golang.prefix)


def _import(call: Invocation) -> int:
    from fluxbase_migrations.cli.importing import Tool
    from fluxbase_migrations.cli.importing.command import import_files

    arguments = call.arguments
    target = Path(arguments.to or call.source_path)
    return import_files(Tool(arguments.tool), Path(arguments.directory), target, dry_run=arguments.dry_run)


def _job(call: Invocation) -> int:
    from fluxbase_migrations.runner.commands.job import main

    config.export_libpq(call.variables)
    return main()


def _lint(call: Invocation) -> int:
    from fluxbase_migrations.cli.lint import lint

    return lint(_directory(call), call.arguments, call.unknown_files, call.log())


def _validate(call: Invocation) -> int:
    from fluxbase_migrations.cli.validate import validate

    arguments = call.arguments
    return validate(_directory(call), arguments.form, write=arguments.write, unknown_files=call.unknown_files)


def _directory(call: Invocation) -> Path:
    return Path(call.arguments.directory or call.source_path)


WITHOUT_SETTINGS: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = {
    "completion": _completion,
    "system": _system,
}
"""Commands that work whatever the settings' files are; each returns the exit code."""
COMMANDS: Final[Mapping[str, Callable[[Invocation], int]]] = {
    "config": _config,
    "create": _create,
    "import": _import,
    "job": _job,
    "lint": _lint,
    "validate": _validate,
}
"""By name; each returns the exit code."""
