"""The program ``fluxbase-migrate``."""

import sys
from typing import NoReturn

from fluxbase_migrations.cli import own_version
from fluxbase_migrations.runner.commands import process


def main() -> NoReturn:
    """Run it, and end the process."""
    alone = len(sys.argv) == 2 and sys.argv[1] in own_version.WORDS
    process.run("fluxbase_migrations.cli.own_version" if alone else "fluxbase_migrations.cli.migrate")
