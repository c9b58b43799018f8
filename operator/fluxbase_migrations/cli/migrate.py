"""``fluxbase-migrate``: from the command line to the command.

Imports are late: ``--help`` and ``create`` need no database driver.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from fluxbase_migrations.cli import completion, config, file_commands
from fluxbase_migrations.cli.arguments import (
    DETAILED_EXITCODE,
    parser,
    without_connection,
)
from fluxbase_migrations.cli.golang_arguments import without_booleans
from fluxbase_migrations.cli.invocation import Invocation, usage_error
from fluxbase_migrations.cli.options import chosen_options
from fluxbase_migrations.cli.usage import USAGE_ERROR, parse
from fluxbase_migrations.core.text import visible


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
    arguments = _parse(words)
    if arguments.command in file_commands.WITHOUT_SETTINGS:
        return file_commands.WITHOUT_SETTINGS[arguments.command](arguments)
    try:
        variables = config.load(os.environ, file_commands.working_directory())
        call = Invocation(arguments, chosen_options(arguments, variables), variables)
    except config.ConfigError as error:
        usage_error(without_connection(str(error)))
    if command := file_commands.COMMANDS.get(call.command):
        return command(call)
    config.export_libpq(variables)
    from fluxbase_migrations.cli import database_commands

    return database_commands.run(call)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """The command line, as far as it does not contradict itself."""
    arguments = parse(parser(words), without_booleans(words), lambda word: visible(without_connection(word)))
    match arguments.command:
        case "down":
            arguments.all, arguments.yes = (
                arguments.all or arguments.all_unasked,
                arguments.yes or arguments.all_unasked,
            )
            if arguments.all and arguments.count is not None:
                usage_error("down takes a number or --all, not both")
        case "plan" if arguments.count is not None and arguments.to is not None:
            usage_error("plan takes a number or --to V, not both")
        case "baseline" if (arguments.target is None) == (arguments.other is None):
            usage_error("baseline takes a version or --from SCHEMA.NAME")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
