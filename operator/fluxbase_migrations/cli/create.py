"""``fluxbase-migrate create``: an empty pair of files, numbered like those that are there."""

import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from fluxbase_migrations.cli import output
from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.files import MAX_VERSION, Direction, parse_name
from fluxbase_migrations.core.text import visible

_DEFAULT_DIGITS: Final = 3


@dataclass(frozen=True, slots=True)
class _Calendar:
    """Versions that are a moment in UTC, written as digits of the calendar."""

    form: str
    digits: int
    step: timedelta

    def read(self, prefix: str) -> datetime | None:
        """The moment that ``prefix`` is; None if it is none, or long before anybody wrote migrations."""
        if len(prefix) != self.digits or prefix < "1970":
            return None
        try:
            return datetime.strptime(prefix, self.form).replace(tzinfo=UTC)
        except ValueError:
            return None

    def write(self, moment: datetime) -> str:
        """The prefix for a moment."""
        return moment.strftime(self.form)

    def after(self, moment: datetime) -> datetime:
        """The next one.

        Raises:
            OverflowError: the calendar ends.
        """
        return moment + self.step


@dataclass(frozen=True, slots=True)
class _Unix:
    """Versions that are the time since 1970, in parts of a second."""

    digits: int
    parts: int
    """How many of them a second has."""

    def read(self, prefix: str) -> datetime | None:
        """The moment that ``prefix`` is; None if it is none."""
        if len(prefix) != self.digits or prefix.startswith("0"):
            return None
        return datetime.fromtimestamp(int(prefix) / self.parts, UTC)

    def write(self, moment: datetime) -> str:
        """The prefix for a moment."""
        return str(round(moment.timestamp() * self.parts))

    def after(self, moment: datetime) -> datetime:
        """The next one."""
        return moment + timedelta(seconds=1 / self.parts)


_TIMESTAMPS: Final = (
    _Calendar("%Y%m%d%H%M%S", 14, timedelta(seconds=1)),
    _Calendar("%Y%m%d%H%M", 12, timedelta(minutes=1)),
    _Calendar("%Y%m%d", 8, timedelta(days=1)),
    _Unix(10, 1),
    _Unix(13, 1000),
)
"""How people number migrations by the clock; no two of them have the same number of digits."""


def next_prefix(names: list[str], now: datetime) -> str:
    """What the name of the next file begins with, in the form of the highest version (seed: ``001``).

    A timestamp is now's, or where that is not above the highest the one that follows it; a number is the
    highest and one, with as many digits.

    Raises:
        InvalidSource: no version of that form is left, or one that is there is too large.
    """
    highest, prefix = 0, ""
    for name in names:
        parsed = parse_name(name)
        if parsed is not None and parsed.version >= highest:
            highest, prefix = parsed.version, name.partition("_")[0]
    for form in _TIMESTAMPS:
        if (last := form.read(prefix)) is not None:
            return _stamp(form, last, now, prefix)
    if highest == MAX_VERSION:
        raise InvalidSource(f"version {highest} is there already, and it is the largest that there is")
    return str(highest + 1).zfill(len(prefix) or _DEFAULT_DIGITS)


def _stamp(form: _Calendar | _Unix, last: datetime, now: datetime, prefix: str) -> str:
    stamp = form.write(now)
    if len(stamp) == len(prefix) and stamp > prefix:
        return stamp
    try:
        stamp = form.write(form.after(last))
    except OverflowError:
        stamp = ""
    if len(stamp) != len(prefix):
        raise InvalidSource(
            f"no timestamp with {len(prefix)} digits is above version {prefix}",
            hint="give that file a smaller number, or create the next pair by hand",
        )
    return stamp


def create(directory: Path, name: str) -> int:
    """Make the two files and print their paths; returns the exit code."""
    title = re.sub(r"[^\w]+", "_", name.strip()).strip("_")
    if not title:
        print(f"ERROR {name!r} is no name for a file", file=sys.stderr)
        return 2
    made = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        prefix = next_prefix([path.name for path in directory.iterdir()], datetime.now(UTC))
        for direction in Direction:
            path = directory / f"{prefix}_{title}.{direction}.sql"
            with path.open("x", encoding="utf-8"):
                made.append(visible(str(path)))
    except (OSError, ValueError, InvalidSource) as error:
        shown = visible(f"cannot create a migration in {directory}: {error}")
        print(f"ERROR {shown}", file=sys.stderr)
        return 1
    return output.answer(made)
