"""A database's schema as pg_dump writes it, for comparing two states."""

import difflib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Final

from psycopg import pq

from fluxbase_migrations.core.lazy_dataclass import dataclass

_LIMIT: Final = 600.0
"""Seconds."""
_CHANGES: Final = re.compile(r"(--|\\(un)?restrict\b|SELECT pg_catalog\.set_config\(|SET )")
"""Lines that say nothing of the schema; newer releases write a random word into some."""


@dataclass(frozen=True, slots=True)
class Dump:
    """A schema, or why there is none."""

    lines: tuple[str, ...] = ()
    problem: str = ""


def dump(parameters: Mapping[str, str]) -> Dump:
    """The schema of the database that libpq's ``parameters`` lead to."""
    program = shutil.which("pg_dump")
    if program is None:
        return Dump(problem="pg_dump is not installed")
    try:
        completed = subprocess.run(
            [program, "--schema-only", "--no-password"],
            env={**os.environ, **_environment(parameters)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Dump(problem=f"pg_dump took longer than {_LIMIT:g} s")
    if completed.returncode:
        output = completed.stderr.splitlines()
        errors = [line for line in output if "error" in line] or output
        return Dump(problem=" ".join((errors or ["pg_dump failed"])[0].split()))
    lines = (line for line in completed.stdout.splitlines() if line.strip() and not _CHANGES.match(line))
    return Dump(tuple(lines))


def _environment(parameters: Mapping[str, str]) -> dict[str, str]:
    """The parameters as libpq's variables: every user of the machine can read a command line."""
    variables = {option.keyword.decode(): option.envvar for option in pq.Conninfo.get_defaults()}
    environment = {}
    for keyword, value in parameters.items():
        variable = variables.get(keyword)
        if variable:
            environment[variable.decode()] = value
    return environment


def difference(before: Dump, after: Dump) -> list[str]:
    """The lines that one has and the other has not, marked as ``diff`` does."""
    return [
        line
        for line in difflib.unified_diff(before.lines, after.lines, n=0, lineterm="")
        if not line.startswith(("---", "+++", "@@"))
    ]
