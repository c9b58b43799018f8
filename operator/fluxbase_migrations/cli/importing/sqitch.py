"""Sqitch: the changes of ``sqitch.plan`` in their order, with ``deploy/``, ``revert/`` and ``verify/``."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from fluxbase_migrations.cli.importing.model import Conversion, Migration, Remark, Section, lines
from fluxbase_migrations.core.lazy_dataclass import dataclass

PLAN: Final = "sqitch.plan"
_CONFIGURATION: Final = "sqitch.conf"
_STAMP: Final = r"\s+[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]+Z\s.*"
_CHANGE: Final = re.compile(r"\s*([+-]?)\s*([^\s\[@#:]+)\s*(?:\[([^\]]*)\])?" + _STAMP)
_TAG: Final = re.compile(r"\s*@(\S+)" + _STAMP)
_MOVED: Final = re.compile(
    r"\s*(top_dir|deploy_dir|revert_dir|verify_dir|plan_file|extension|reworked_\w+)\s*=", re.IGNORECASE
)
_VARIABLES: Final = re.compile(r'\s*\[[^\]]*"?variables"?\]', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Change:
    name: str
    line: int
    tags: int
    """How many tags stand before it in the plan."""


def convert(files: Mapping[str, str]) -> Conversion:
    """The migrations of a project, path → content."""
    if PLAN not in files:
        return Conversion((), (Remark(f"there is no {PLAN}"),), keep_numbers=False)
    remarks = _of_configuration(files.get(_CONFIGURATION, ""))
    changes, tags, plan_remarks = _read(files[PLAN])
    remarks += plan_remarks
    migrations = []
    for index, change in enumerate(changes):
        script = _script(change, changes[index + 1 :], tags, files)
        if script is None:
            remarks.append(Remark(f"the script deploy/{change.name}.sql is missing", PLAN, change.line))
            continue
        down = f"revert/{script}.sql"
        if down not in files:
            why = f"there is no {down}: it cannot be reverted"
            remarks.append(Remark(why, PLAN, change.line, is_error=False))
        title = script.replace("/", "_")
        migrations.append(
            Migration(
                script,
                title,
                Section(files[f"deploy/{script}.sql"], f"deploy/{script}.sql"),
                Section(files[down], down) if down in files else None,
            )
        )
    if any(path.startswith("verify/") for path in files):
        why = "the scripts in verify/ are left out: there is nothing here that would run them"
        remarks.append(Remark(why, is_error=False))
    return Conversion(migrations, remarks, keep_numbers=False)


def _read(plan: str) -> tuple[list[_Change], list[str], list[Remark]]:
    """Changes and tags, in their order."""
    changes: list[_Change] = []
    tags: list[str] = []
    remarks = []
    for number, line in lines(plan):
        if not line.strip() or line.lstrip().startswith(("#", "%")):
            continue
        if tag := _TAG.fullmatch(line):
            tags.append(tag[1])
            continue
        match = _CHANGE.fullmatch(line)
        if match is None or match[1] == "-":
            remarks.append(Remark("not a line that is understood", PLAN, number))
            continue
        if foreign_changes := [name for name in (match[3] or "").split() if ":" in name]:
            why = f"it needs {foreign_changes[0]} of another project: import that first, and remove this"
            remarks.append(Remark(why, PLAN, number))
        changes.append(_Change(match[2], number, len(tags)))
    return changes, tags, remarks


def _script(
    change: _Change, later: Sequence[_Change], tags: Sequence[str], files: Mapping[str, str]
) -> str | None:
    """The name of the change's scripts. Sqitch keeps those of a reworked change under name@tag."""
    names = [change.name]
    if reworked := next((other for other in later if other.name == change.name), None):
        names = [f"{change.name}@{tag}" for tag in reversed(tags[change.tags : reworked.tags])]
    return next((name for name in names if f"deploy/{name}.sql" in files), None)


def _of_configuration(text: str) -> list[Remark]:
    return [
        Remark(
            f"{line.strip()}: only the default places, without variables, are read", _CONFIGURATION, number
        )
        for number, line in lines(text)
        if _MOVED.match(line) or _VARIABLES.match(line)
    ]
