"""The platform's own migrations: the system track, as plain .sql beside this file.

They are data, run by the same runner as the application's files and readable by golang-migrate's CLI. What
they need of the login and what they leave behind is in docs/system-migrations.md.
"""

from importlib.resources import files as _resources


def files() -> dict[str, bytes]:
    """The content of each built-in migration file by its name, in the order of the names."""
    found = (entry for entry in _resources(__name__).iterdir() if entry.name.endswith(".sql"))
    return {entry.name: entry.read_bytes() for entry in sorted(found, key=lambda entry: entry.name)}
