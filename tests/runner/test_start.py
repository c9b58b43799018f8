"""A program loads what its command needs, and no more: most runs take less time than Python's start."""

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from dev.peers import environment, write_files
from fluxbase_migrations.cli import own_version
from fluxbase_migrations.runner.commands.deferred_modules import MODULES
from tests.runner.track import Runner
from tests.support.databases import Database

UNNEEDED = (
    *("argcomplete", "email", "importlib.metadata", "subprocess", "zipfile"),
    *("asyncio", "concurrent.futures"),
    *("psycopg.adapt", "psycopg.connection", "psycopg.cursor", "psycopg.sql", "psycopg.types"),
    *("aiohttp", "dotenv", "kopf", "kubernetes", "prometheus_client", "pydantic", "yaml"),
    *(
        "fluxbase_migrations.api",
        "fluxbase_migrations.controller",
        "fluxbase_migrations.decisions",
        "fluxbase_migrations.runner.lookahead",
        "postgast",
    ),
)
"""Modules that no ordinary run loads, and what is in them."""
WAITING = (
    *("_hashlib", "shutil"),
    *(("dis", "linecache") if sys.version_info < (3, 12) else ()),  # later, dataclasses ask inspect
)
"""What nothing without a database needs; a module that waits is told by what it loads when it is executed."""
DRIVER = ("psycopg.conninfo", "psycopg.pq.abc")


def executed(program: str, *words: str, directory: Path, **variables: str) -> set[str]:
    """The modules whose code a program's run executed."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program, *words],
        env=environment(variables),
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines}


def unneeded(modules: set[str]) -> list[str]:
    """Those of :data:`UNNEEDED` that are among them."""
    return sorted(
        module for module in modules for name in UNNEEDED if module == name or module.startswith(f"{name}.")
    )


PROGRAM = "from fluxbase_migrations.cli.program import main; main()"
APPLIED = {"1_a.up.sql": "CREATE TABLE a (i int)"}


@pytest.mark.parametrize(
    "words",
    [("version",), ("up",), ("goto", "1"), ("history",)],
    ids=["version", "no change", "goto", "history"],
)
def test_a_command_with_nothing_to_do_loads_neither_adapters_nor_asyncio(
    runner: Runner, tmp_path: Path, words: Sequence[str]
) -> None:
    runner.run(APPLIED)
    write_files(tmp_path / "migrations", APPLIED)
    modules = executed(PROGRAM, *words, directory=tmp_path, DATABASE_URL=runner.database.dsn)
    assert unneeded(modules) == []
    assert "psycopg.pq.abc" in modules


@pytest.mark.parametrize("words", [("--help",), ("create", "add_users")], ids=["help", "create"])
def test_what_needs_no_database_loads_no_driver(tmp_path: Path, words: Sequence[str]) -> None:
    modules = executed(PROGRAM, *words, directory=tmp_path)
    assert [*unneeded(modules), *modules.intersection({*DRIVER, *WAITING})] == []


@pytest.mark.parametrize("word", own_version.WORDS)
def test_the_version_alone_is_printed_without_a_parser_and_says_the_same(tmp_path: Path, word: str) -> None:
    assert "argparse" not in executed(PROGRAM, word, directory=tmp_path)
    program = Path(sys.executable).with_name("fluxbase-migrate")
    alone, parsed = (
        subprocess.run([program, *words], capture_output=True, text=True, check=True).stdout
        for words in ((word,), ("--track", "user", word))
    )
    assert alone == parsed == f"{own_version.LINE}\n"


def test_files_that_are_applied_load_no_more(database: Database, tmp_path: Path) -> None:
    write_files(tmp_path / "migrations", APPLIED)
    modules = executed(PROGRAM, "up", directory=tmp_path, DATABASE_URL=database.dsn)
    assert unneeded(modules) == []


MODULE = """
import sys
from fluxbase_migrations.cli import own_version
from fluxbase_migrations.runner.commands.deferred_modules import defer_all
defer_all()
waits = lambda name: "__getattr__" in vars(sys.modules[name])
assert {waiting}
{use}
assert not {waiting}
"""


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("asyncio", "import asyncio; asyncio.run(asyncio.sleep(0))"),
        ("asyncio", "from asyncio import CancelledError, run; run(__import__('asyncio').sleep(0))"),
        ("asyncio", "from asyncio import *; sleep"),
        ("psycopg", "import psycopg; assert psycopg.Connection.connect == psycopg.connect"),
        ("psycopg", "from psycopg import pq, errors, Error; assert Error is errors.Error"),
        ("psycopg", "from psycopg import errors; import psycopg; assert psycopg.Error is errors.Error"),
        ("psycopg", "import psycopg.pq, psycopg.rows; assert psycopg.rows.tuple_row and psycopg.connect"),
        ("psycopg", "import psycopg; assert not hasattr(psycopg, 'nothing_of_that_name')"),
        ("hashlib", "import hashlib; assert hashlib.sha256(b'').hexdigest()"),
        ("inspect", "from inspect import signature; signature(print)"),
        ("traceback", "import traceback; traceback.extract_stack()"),
        ("ctypes.util", "import ctypes.util; ctypes.util.find_library('c')"),
        ("ctypes.util", "from ctypes import util; util.find_library"),
    ],
)
def test_a_module_that_waits_is_complete_when_something_of_it_is_used(name: str, use: str) -> None:
    code = MODULE.format(waiting=f"waits({name!r})", use=use)
    done = subprocess.run(
        [sys.executable, "-c", code], env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_is_to_wait_is_installed() -> None:
    assert [module.name for module in MODULES if find_spec(module.name) is None] == []
