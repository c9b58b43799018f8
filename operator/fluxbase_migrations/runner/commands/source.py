"""Reading migration files from directories, once, into memory."""

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from fluxbase_migrations.core.digest import MIGRATION_PATTERN
from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.files import MigrationFiles
from fluxbase_migrations.core.names import UnknownFiles
from fluxbase_migrations.runner.execution import memory
from fluxbase_migrations.runner.log import Log

MAX_TOTAL: Final = 1 << 30
"""Bytes of one source; a container that reads more would be killed without a message."""


def scan(files: Mapping[str, bytes], unknown_files: UnknownFiles, log: Log) -> MigrationFiles:
    """Sort the files into migrations, and log a warning for what is unusual about them.

    Raises:
        InvalidSource: as :meth:`MigrationFiles.scan` does.
    """
    source = MigrationFiles.scan(files, unknown_files)
    for warning in source.warnings:
        log.warn(warning)
    return source


def read_directories(paths: Sequence[str | Path], log: Log, *, missing_ok: bool = False) -> dict[str, bytes]:
    """Read and merge the migration files of ``paths``: name → bytes; of other ``.sql`` files only the name.

    Raises:
        InvalidSource: something cannot be read, a name is in two directories, or it is all too large.
    """
    files: dict[str, bytes] = {}
    places: dict[str, Path] = {}
    origin: dict[str, Path] = {}
    for path in map(Path, paths):
        if missing_ok and _missing(path):
            continue
        for name, file in _list(path, log):
            if not _is_migration(name):
                files[name] = b""
                continue
            _require_utf8(name)
            if name in places:
                raise InvalidSource(
                    f"the file is in two places: {origin[name]} and {path}",
                    file=name,
                    hint="remove one of them",
                )
            places[name], origin[name] = file, path
    _require_room(places, memory.limit())
    return files | {name: _read(file, name) for name, file in places.items()}


def _require_room(files: Mapping[str, Path], available: int | None) -> None:
    """Check, before anything is read, that all files fit into the available memory."""
    total = sum(_size(path) for path in files.values())
    if total > MAX_TOTAL:
        raise InvalidSource(
            f"the migration files together are larger than {MAX_TOTAL >> 20} MiB",
            file=max(files, key=lambda name: _size(files[name])),
            hint="load bulk data with another tool, or in several sources",
        )
    if available is not None and total + memory.BASE > available:
        raise memory.too_large(
            f"the migration files together have {memory.mebibytes(total)} MiB", total + memory.BASE, available
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # reading it raises the error


def _missing(path: Path) -> bool:
    """Whether it certainly does not exist; where that cannot be determined, reading it fails later."""
    try:
        path.stat()
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return False


def _list(path: Path, log: Log) -> list[tuple[str, Path]]:
    """The candidates in a directory, or in its only subdirectory that has any (``kubectl cp`` nests)."""
    # The kubelet swaps `..data` in one step; resolved once, all files come from one version.
    data = path / "..data"
    try:
        directory = data.resolve() if data.is_symlink() else path
    except OSError:
        directory = path  # reading it raises the error
    files, subdirectories = _scan(directory, path)
    nested = [
        (subdirectory.name, inner)
        for subdirectory in subdirectories
        if (inner := _scan_quietly(subdirectory))
    ]
    if len(nested) == 1 and not any(_is_migration(name) for name, _ in files):
        log.info("no migration files there, reading its subdirectory", path=path, subdirectory=nested[0][0])
        return files + nested[0][1]
    if nested:
        names = ",".join(name for name, _ in nested)
        log.warn("migration files in subdirectories are not read", path=path, subdirectories=names)
    return files


def _scan(directory: Path, configured: Path) -> tuple[list[tuple[str, Path]], list[Path]]:
    """Migration files and other ``.sql`` files, and the visible subdirectories."""
    files, subdirectories = [], []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    subdirectories.append(Path(entry.path))
                    continue
                # As UTF-8, whatever the locale: the names of one source are the same everywhere.
                name = os.fsencode(entry.name).decode("utf-8", "surrogateescape")
                if _is_migration(name) or name.lower().endswith(".sql"):
                    files.append((name, Path(entry.path)))
    except OSError as error:
        raise InvalidSource(
            f"cannot read the directory {configured}: {error.strerror}",
            hint="check that it exists, is mounted, and may be read by the user that runs this",
        ) from None
    return sorted(files), sorted(subdirectories)


def _scan_quietly(directory: Path) -> list[tuple[str, Path]]:
    """Like :func:`_scan` where a directory that cannot be read (``lost+found``) counts as empty."""
    try:
        files, _ = _scan(directory, directory)
    except InvalidSource:
        return []
    return [pair for pair in files if _is_migration(pair[0])]


def _is_migration(name: str) -> bool:
    return MIGRATION_PATTERN.fullmatch(name) is not None


def _require_utf8(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidSource("the file's name is not UTF-8", file=name, hint="rename the file") from None


def _read(path: Path, name: str) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InvalidSource("not a regular file", file=name, hint="remove or rename it")
        return path.read_bytes()
    except OSError as error:
        raise InvalidSource(
            f"cannot read the file: {error.strerror}",
            file=name,
            hint="check its permissions, and that a symbolic link points to a file",
        ) from None
