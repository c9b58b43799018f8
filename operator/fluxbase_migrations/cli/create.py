"""``fluxbase-migrate create``: an empty pair of files with the next number, padded like its neighbours."""

import re
from pathlib import Path

from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.files import Direction, parse_name

_DEFAULT_DIGITS = 3


def next_prefix(names: list[str]) -> str:
    """The number after the highest, with as many digits as the file that has it (seed: ``001``)."""
    highest, digits = 0, _DEFAULT_DIGITS
    for name in names:
        parsed = parse_name(name)
        if parsed is not None and parsed.version >= highest:
            highest, digits = parsed.version, len(name.partition("_")[0])
    return str(highest + 1).zfill(digits)


def create(directory: Path, name: str) -> int:
    """Make the two files and print their paths."""
    title = re.sub(r"[^\w]+", "_", name.strip()).strip("_")
    if not title:
        print(f"ERROR {name!r} is no name for a file")
        return 2
    try:
        directory.mkdir(parents=True, exist_ok=True)
        prefix = next_prefix([path.name for path in directory.iterdir()])
        for direction in Direction:
            path = directory / f"{prefix}_{title}.{direction}.sql"
            with path.open("x", encoding="utf-8"):
                print(path)
    except (OSError, InvalidSource) as error:
        print(f"ERROR cannot create a migration in {directory}: {error}")
        return 1
    return 0
