"""dbmate: ``20240102030405_name.sql`` with ``-- migrate:up`` and ``-- migrate:down``, and their options."""

import re
from collections.abc import Mapping, Sequence
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
    is_comment,
    lines,
    section,
)

_NAME: Final = re.compile(r"([0-9]+)_?(.*)\.sql", re.ASCII | re.DOTALL)
_MARKER: Final = re.compile(r"--\s*migrate:(up|down)(?:\s+(.*))?\s*")
_NO_TRANSACTION: Final = "transaction:false"
_OPTIONS: Final = frozenset((_NO_TRANSACTION, "transaction:true"))


def convert(files: Mapping[str, str]) -> Conversion:
    """The migrations of a directory's files, name → content."""
    remarks: list[Remark] = []
    migrations: list[Migration] = []
    versions: dict[str, list[str]] = {}
    for name, text in sorted(files.items()):  # the order of dbmate: that of the names
        match = _NAME.fullmatch(name)
        if match is None:
            if name.endswith(".sql"):
                remarks.append(Remark("left out, as dbmate does: no number in front", name, is_error=False))
            continue
        versions.setdefault(match[1], []).append(name)
        sections, section_remarks = _sections(name, text)
        remarks += section_remarks
        if sections:
            down = sections[1] if len(sections) > 1 else None
            migrations.append(Migration(match[1], match[2] or NO_TITLE, sections[0], down))
    remarks += duplicates(versions)
    return Conversion(migrations, remarks, are_in_order(migration.version for migration in migrations))


def _sections(name: str, text: str) -> tuple[Sequence[Section], list[Remark]]:
    """Up, and down if there is one."""
    remarks: list[Remark] = []
    sections: list[tuple[int, list[str]]] = []
    for number, line in lines(text):
        match = _MARKER.fullmatch(line.rstrip())
        if match is None:
            if sections:
                sections[-1][1].append(line)
            elif not is_comment(line):
                return (), [Remark("a statement before -- migrate:up, which dbmate refuses", name, number)]
            continue
        if match[1] != ("up", "down", "")[min(len(sections), 2)]:
            why = "in the wrong place" if len(sections) < 2 else "again: write a file for each migration"
            return (), [Remark(f"-- migrate:{match[1]} {why}", name, number)]
        sections.append((number + 1, []))
        remarks += _of_options(name, number, (match[2] or "").split())
    if not sections:
        return (), [Remark("there is no -- migrate:up", name)]
    return [section(name, *part) for part in sections], remarks


def _of_options(name: str, line: int, options: Sequence[str]) -> list[Remark]:
    remarks = [
        Remark(f"the option {option} is not known", name, line)
        for option in options
        if option not in _OPTIONS
    ]
    if _NO_TRANSACTION in options:
        remarks.append(Remark(f"{_NO_TRANSACTION}: {ATOMIC}", name, line, is_error=False))
    return remarks
