"""Flyway: ``V1.2__name.sql`` and ``U1.2__name.sql``, with its default prefixes and separator."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final

from fluxbase_migrations.cli.importing.model import (
    ATOMIC,
    NO_TITLE,
    Conversion,
    Migration,
    Remark,
    Section,
    are_in_order,
    duplicates,
    lines,
)

_NAME: Final = re.compile(r"([VUB])([0-9]+(?:[._][0-9]+)*)(?:__(.*))?\.(\w+)", re.ASCII | re.DOTALL)
_REPEATABLE: Final = re.compile(r"R__.*", re.DOTALL)
_CALLBACK: Final = re.compile(r"(before|after|create)[A-Z]\w*(__.*)?\.(sql|java|class|sh|ps1|py)", re.DOTALL)
_PLACEHOLDER: Final = re.compile(r"\$\{[^}\n]*\}")
_SETTING: Final = re.compile(r"\s*(?:#.*|!.*|([^=:\s]+)\s*[=:]\s*(.*?))?\s*")
CODE: Final = frozenset(("java", "class", "kt", "groovy", "py", "sh", "bash", "ps1", "cmd", "bat"))
"""Endings of migrations in other languages."""


def convert(files: Mapping[str, str]) -> Conversion:
    """The migrations of a directory and those below it, path → content."""
    remarks: list[Remark] = []
    ups: dict[tuple[int, ...], Migration] = {}
    downs: dict[tuple[int, ...], str] = {}
    versions: dict[str, list[str]] = {}
    for path in sorted(files):
        name = PurePosixPath(path).name
        match = _NAME.fullmatch(name)
        if match is None:
            remarks += _unnamed(path, name)
            continue
        kind, version = match[1], match[2].replace("_", ".")
        if match[4] in CODE:
            remarks.append(Remark("a migration that is no SQL: write it in SQL", path))
        elif kind == "B":
            remarks.append(Remark("a baseline migration stands for others: import the others instead", path))
        elif match[4] == "sql":
            key = _place(version)
            versions.setdefault(f"{kind}{'.'.join(map(str, key))}", []).append(path)
            remarks += _placeholders(path, files[path])
            remarks += _settings(path, files.get(f"{path}.conf", ""))
            if kind == "V":
                ups[key] = Migration(version, match[3] or NO_TITLE, Section(files[path], path), None)
            else:
                downs[key] = path
    remarks += duplicates(versions)
    orphans = (path for key, path in downs.items() if key not in ups)
    remarks += [Remark("it undoes a version that has no file", path) for path in orphans]
    migrations = [
        replace(migration, down=Section(files[downs[key]], downs[key])) if key in downs else migration
        for key, migration in sorted(ups.items())
    ]
    return Conversion(migrations, remarks, are_in_order(migration.version for migration in migrations))


def _place(version: str) -> tuple[int, ...]:
    """A version's sort key: zeros at its end make no difference."""
    parts = [int(part) for part in version.split(".")]
    while len(parts) > 1 and not parts[-1]:
        parts.pop()
    return tuple(parts)


def _unnamed(path: str, name: str) -> list[Remark]:
    if _REPEATABLE.fullmatch(name):
        why = "a repeatable migration runs whenever it changes, and ours run once: "
        return [Remark(f"{why}put what it makes into a new version", path)]
    if _CALLBACK.fullmatch(name):
        return [Remark("a callback runs around others: put it into the files that need it", path)]
    if name.endswith(".sql"):
        return [Remark("left out, as Flyway does: not V1__name.sql", path, is_error=False)]
    return []


def _placeholders(path: str, text: str) -> list[Remark]:
    """A remark on the first of a file; Flyway replaces them everywhere, in strings and comments, too."""
    for number, line in lines(text):
        if match := _PLACEHOLDER.search(line):
            return [Remark(f"the placeholder {match[0]}: put its value into the file", path, number)]
    return []


def _settings(path: str, text: str) -> list[Remark]:
    """Remarks on the settings of a script's own configuration file."""
    remarks = []
    for number, line in lines(text):
        match = _SETTING.fullmatch(line)
        name, value = (match[1], match[2].lower()) if match and match[1] else (None, "")
        if match is not None and name is None:
            continue
        if (name, value) == ("executeInTransaction", "false"):
            remarks.append(Remark(f"executeInTransaction=false: {ATOMIC}", path, is_error=False))
        elif (name, value) not in (("executeInTransaction", "true"), ("encoding", "utf-8")):
            remarks.append(Remark(f"{line.strip()} has no counterpart", f"{path}.conf", number))
    return remarks
