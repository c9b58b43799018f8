"""The program ``fluxbase-migrate``."""

from typing import NoReturn

from fluxbase_migrations.runner.commands import process


def main() -> NoReturn:
    """Run it, and end the process."""
    process.run("fluxbase_migrations.cli.migrate")
