"""``fluxbase-migrate create``: an empty pair of files, numbered like the existing ones."""

import argparse
import hashlib
import re
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fluxbase_migrations.cli import output
from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.files import MAX_VERSION, Direction, parse_name
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import SUMS
from fluxbase_migrations.core.text import visible

_DEFAULT_DIGITS: Final = 3
_MOST_DIGITS: Final = 200
"""The name of a file has 255 bytes."""


@dataclass(frozen=True, slots=True)
class _Calendar:
    """Versions that are a moment in UTC, written as digits of the calendar."""

    form: str
    digits: int
    step: timedelta

    def read(self, prefix: str) -> datetime | None:
        """The moment that ``prefix`` is; None if it is none, or before 1970."""
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
"""The usual timestamps in the names of migrations; no two have the same number of digits."""


def next_prefix(names: list[str], now: datetime) -> str:
    """The prefix of the next file's name, in the form of the highest version (seed: ``001``).

    A timestamp is that of ``now``, or the one after the highest version where that is later; a number is the
    highest plus one, with as many digits.

    Raises:
        InvalidSource: no version of that form is left, or an existing one is too large.
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


_GO_LAYOUT: Final = (
    ("2006", "%Y"),
    ("01", "%m"),
    ("02", "%d"),
    ("15", "%H"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
)
"""Go's names for the parts of a time, as its package `time` documents them: those that are digits."""


@dataclass(frozen=True, slots=True)
class GolangNumbers:
    """How golang-migrate's `create` numbers files, by its own options."""

    sequence_digits: int | None
    """None: a timestamp."""
    layout: str
    """A Go layout, ``unix`` or ``unixNano``."""
    zone: ZoneInfo

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "GolangNumbers | None":
        """From the command's arguments; None: without -ext.

        Raises:
            ValueError: what golang-migrate refuses, too, or an extension that is not run.
        """
        names = {"seq", "digits", "format", "tz", "dir"} & vars(arguments).keys()
        if "ext" not in arguments:
            if names:
                raise ValueError(
                    f"-{min(names)} is an option of golang-migrate's create, which needs -ext sql"
                )
            return None
        if arguments.ext.removeprefix(".") != "sql":
            raise ValueError(f"-ext {arguments.ext}: the files' extension is sql")
        if "seq" in arguments and "format" in arguments:
            raise ValueError("-seq and -format cannot be combined")
        digits = getattr(arguments, "digits", 6)
        if not 1 <= digits <= _MOST_DIGITS:
            raise ValueError(f"-digits {digits}: it must be between 1 and {_MOST_DIGITS}")
        layout, name = getattr(arguments, "format", "20060102150405"), getattr(arguments, "tz", "UTC")
        try:
            zone = ZoneInfo(name or "UTC")  # as Go reads no name
        except (ZoneInfoNotFoundError, ValueError, OSError):  # a directory of zones, like America
            raise ValueError(f"-tz {name}: no time zone of that name") from None
        return cls(digits if "seq" in arguments else None, layout, zone)

    def prefix(self, names: list[str], now: datetime) -> str:
        """The prefix of the next file's name.

        Raises:
            InvalidSource: no such number is left, or the version exists already.
        """
        versions = [parsed.version for name in names if (parsed := parse_name(name)) is not None]
        prefix = self._sequence(versions) if self.sequence_digits else self._stamp(now)
        if not prefix.isdecimal() or int(prefix) > MAX_VERSION:
            raise InvalidSource(f"{prefix!r} is no version", hint="choose a -format of digits only")
        if int(prefix) in versions:
            raise InvalidSource(f"version {int(prefix)} is there already")
        return prefix

    def _sequence(self, versions: list[int]) -> str:
        digits = self.sequence_digits or 0
        number = str(max(versions, default=0) + 1).zfill(digits)
        if len(number) > digits:
            raise InvalidSource(f"the next number, {number}, has more than {digits} digits")
        return number

    def _stamp(self, now: datetime) -> str:
        if self.layout == "unix":
            return str(int(now.timestamp()))
        if self.layout == "unixNano":
            return str(int(now.timestamp() * 1_000_000) * 1000)
        form = self.layout.replace("%", "%%")
        for go, directive in _GO_LAYOUT:
            form = form.replace(go, directive)
        return now.astimezone(self.zone).strftime(form)


def create(directory: Path, name: str, prefix_of: Callable[[list[str], datetime], str] = next_prefix) -> int:
    """Create the two files and print their paths; returns the exit code.

    ``prefix_of`` gives the prefix of their names, from the existing names and the time.
    """
    title = re.sub(r"[^\w]+", "_", name.strip()).strip("_")
    if not title:
        print(f"ERROR {name!r} is no name for a file", file=sys.stderr)
        return 2
    paths = list[Path]()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        prefix = prefix_of([path.name for path in directory.iterdir()], datetime.now(UTC))
        for direction in Direction:
            path = directory / f"{prefix}_{title}.{direction}.sql"
            with path.open("x", encoding="utf-8"):
                paths.append(path)
        _record(directory / SUMS, paths)
    except (OSError, ValueError, InvalidSource) as error:
        message = visible(f"cannot create a migration in {directory}: {error}")
        print(f"ERROR {message}", file=sys.stderr)
        return 1
    return output.answer([visible(str(path)) for path in paths])


def _record(sums: Path, paths: Iterable[Path]) -> None:
    """Add the files, which are empty, to the checksums, where the directory keeps them."""
    if not sums.exists():
        return
    text = sums.read_text(encoding="utf-8")
    ended = text if not text or text.endswith("\n") else f"{text}\n"
    empty = hashlib.sha256().hexdigest()
    sums.write_text(ended + "".join(f"{empty}  {path.name}\n" for path in paths), encoding="utf-8")
