"""A database that golang-migrate, Flyway or Fluxbase itself has migrated is taken over by the command line.

What is typed is what our own messages say, as a shell would read it. No file runs twice: each leaves a row in
a journal whenever it runs.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fluxbase_migrations.core.job import JobSpec, SetRef
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.core.result import Outcome
from tests.runner.test_cli import typed
from tests.runner.test_job import Pod
from tests.support import fluxbase_startup
from tests.support.databases import Database
from tests.support.predecessors import (
    APPLIED,
    PREDECESSORS,
    Fluxbase,
    Flyway,
    GolangMigrate,
    Predecessor,
    journal,
    kept,
    ours,
    write,
)

BEGINS = "fluxbase-migrate"
TOOLS = pytest.mark.parametrize("tool", PREDECESSORS.values(), ids=PREDECESSORS)


class Terminal:
    """Somebody in a directory with the tool's files, and a database that it has migrated."""

    def __init__(self, tool: Predecessor, database: Database, directory: Path) -> None:
        self.tool, self.dsn, self.directory = tool, database.dsn, directory
        self.files = write(directory / tool.directory, tool, *APPLIED)
        tool.migrate(self.dsn, self.files)
        self.before = kept(self.dsn, tool)
        self.newest = tool.numbering.format(max(APPLIED)) if isinstance(tool, Flyway) else max(APPLIED)

    def types(self, words: Sequence[str]) -> tuple[int, str]:
        """``fluxbase-migrate`` with these words; returns its exit code and all that it said."""
        done = typed(*words, directory=self.directory, DATABASE_URL=self.dsn)
        return done.returncode, done.stdout + done.stderr

    def is_refused(self, *words: str) -> str:
        """Type what must not run anything; returns what was said."""
        code, said = self.types(words)
        assert code == 1, said
        assert f"{self.tool.table} " in said
        assert f"records version {self.newest}" in said
        self.nothing_ran()
        return said

    def imports(self, said: str) -> str:
        """Convert the files by the message's own command; returns what that says."""
        match = re.search(rf"{BEGINS} (import \w+ DIR)", said)
        assert match is not None, said
        words = match[1].replace("DIR", self.tool.directory).split()
        return self.succeeds([*words, "--to", "migrations"])

    def succeeds(self, words: Sequence[str]) -> str:
        code, said = self.types(words)
        assert code == 0, said
        return said

    def nothing_ran(self) -> None:
        """Neither a file of ours nor a change of the tool's table."""
        assert journal(self.dsn) == ["1", "2"]
        assert kept(self.dsn, self.tool) == self.before

    def adds(self, version: int) -> None:
        (self.directory / "migrations" / ours(version)).write_text(
            f"INSERT INTO journal VALUES ('{version}');\n"
        )

    def goes_on(self, *where: str) -> None:
        """No file is pending, a new one runs once, and the tool still finds everything applied."""
        assert "no change" in self.succeeds(["up", *where])
        self.nothing_ran()
        self.adds(3)
        assert "version=3" in self.succeeds(["up", *where])
        assert "no change" in self.succeeds(["up", *where])
        assert journal(self.dsn) == ["1", "2", "3"]
        assert kept(self.dsn, self.tool) == self.before


def command_in(said: str) -> list[str]:
    """The words after ``fluxbase-migrate`` of the command that takes the version over."""
    match = re.search(rf"{BEGINS} (baseline .*?)(?:, or |; | \(|$)", said, re.MULTILINE)
    assert match is not None, said
    return shlex.split(match[1])


def table_of(words: Sequence[str]) -> list[str]:
    """The option that names our table, where the command has one."""
    return ["--table", words[words.index("--table") + 1]] if "--table" in words else []


@TOOLS
def test_what_the_refusal_names_takes_the_version_over(
    tool: Predecessor, database: Database, tmp_path: Path
) -> None:
    person = Terminal(tool, database, tmp_path)
    old = write(tmp_path / "of an old image", tool, *APPLIED)
    write(tmp_path / "migrations", GolangMigrate(), *APPLIED)
    said = person.is_refused("up")
    code, shown = person.types(["status"])
    assert (code, said.splitlines()[0].removeprefix("ERROR ") in shown) == (1, True), shown
    command = command_in(said)
    assert "baseline recorded" in person.succeeds(command)
    person.nothing_ran()
    person.goes_on(*table_of(command))
    tool.migrate(person.dsn, old)  # a pod that was forgotten is started once more
    assert "no change" in person.succeeds(["up", *table_of(command)])
    assert journal(person.dsn) == ["1", "2", "3"]


def test_from_flyways_own_files_the_messages_alone_lead_there(database: Database, tmp_path: Path) -> None:
    person = Terminal(Flyway(), database, tmp_path)
    code, said = person.types(["--source", person.tool.directory, "up"])
    assert code == 1
    person.nothing_ran()
    person.imports(said)
    person.succeeds(command_in(person.is_refused("up")))
    person.goes_on()


def test_flyways_versions_with_dots_get_numbers_which_the_import_names(
    database: Database, tmp_path: Path
) -> None:
    person = Terminal(Flyway("1.{}"), database, tmp_path)
    (tmp_path / "migrations").mkdir()
    write(tmp_path / "migrations", GolangMigrate(), 1)
    said = person.is_refused("up")
    assert "records version 1.2:" in said
    (tmp_path / "migrations" / ours(1)).unlink()
    said = person.imports(said)
    match = re.search(rf"a database that is at 1[.]2: {BEGINS} (baseline 2)$", said, re.MULTILINE)
    assert match is not None, said
    person.succeeds(match[1].split())
    person.goes_on()


@pytest.mark.parametrize("tool", [Flyway(), Fluxbase()], ids=["Flyway", "Fluxbase's start-up"])
def test_files_and_database_named_on_the_command_line_are_named_in_the_next_command(
    tool: Predecessor, database: Database, tmp_path: Path
) -> None:
    """Without them the command would look at another directory, and not see what the tool has left out."""
    person = Terminal(tool, database, tmp_path)
    write(tmp_path / "our files", GolangMigrate(), *APPLIED)
    given = ["--database-url", person.dsn, "--source", "our files"]
    said = person.is_refused(*given, "up")
    match = re.search(rf"^next: {BEGINS} --database-url … (.*)", said, re.MULTILINE)
    assert match is not None, said
    words = shlex.split(match[1])
    assert words[:3] == ["--source", "our files", "baseline"]
    person.succeeds(["--database-url", person.dsn, *words])
    assert "no change" in person.succeeds([*given, "up", *table_of(words)])
    person.nothing_ran()


def test_golang_migrate_and_we_take_turns_on_its_own_table(database: Database, tmp_path: Path) -> None:
    """As the refusal's other way says: then nothing has to be recorded."""
    tool = GolangMigrate()
    person = Terminal(tool, database, tmp_path)
    match = re.search(r"to use that table: (--table \S+),", person.is_refused("up"))
    assert match is not None
    shared = match[1].split()
    assert "no change" in person.succeeds(["up", *shared])
    person.nothing_ran()
    person.adds(3)
    person.succeeds(["up", *shared])
    tool.migrate(person.dsn, person.files)
    assert journal(person.dsn) == ["1", "2", "3"]
    person.adds(4)
    tool.migrate(person.dsn, person.files)
    assert "no change" in person.succeeds(["up", *shared])
    assert journal(person.dsn) == ["1", "2", "3", "4"]
    assert kept(person.dsn, tool) == [(4, False)]


def test_a_later_fluxbase_that_moves_our_tables_makes_no_file_run_twice(
    database: Database, tmp_path: Path
) -> None:
    """Its start takes every table out of the schema migrations: then nothing runs until that is put right."""
    person = Terminal(Fluxbase(), database, tmp_path)
    command = command_in(person.is_refused("up"))
    person.succeeds(command)
    person.goes_on(*table_of(command))
    fluxbase_startup.move(person.dsn)
    assert kept(person.dsn, Fluxbase(fluxbase_startup.LATER_TABLE)) == person.before
    code, said = person.types(["up", *table_of(command)])
    assert code == 1
    assert "the table platform.app_versions of golang-migrate records version 3" in said
    assert journal(person.dsn) == ["1", "2", "3"]
    safe = ["--table", "public.app_versions"]
    person.succeeds(["baseline", "--from", "platform.app_versions", *safe])
    assert "no change" in person.succeeds(["up", *safe])
    assert journal(person.dsn) == ["1", "2", "3"]


def test_a_version_is_not_recorded_where_a_later_fluxbase_drops_it(
    database: Database, tmp_path: Path
) -> None:
    """From a set's baseline it would be recorded once more, and what ran since would run again."""
    tool = Fluxbase(fluxbase_startup.LATER_TABLE)
    person = Terminal(tool, database, tmp_path)
    code, said = person.types(["baseline", "--from", tool.table])
    assert (code, "empties the schema migrations at each start" in said) == (1, True)
    safe = ["--table", "public.app_versions"]
    assert (
        command_in(said) == command_in(person.is_refused("up")) == ["baseline", "--from", tool.table, *safe]
    )

    pod = Pod(database, tmp_path)
    job = JobSpec(SetRef("uid-1", "fluxbase", "shop"), Track.USER, 1, paths=(str(person.files),), baseline=2)
    refused = pod.run(job)
    assert refused.outcome is Outcome.FOREIGN_TABLE
    assert refused.error is not None
    fields = "spec.tracks.user.table: public.app_versions and spec.tracks.user.baseline: 2;"
    assert fields in (refused.error.hint or "")
    person.adds(3)
    for run in (2, 3, 4):
        result = pod.run(replace(job, run=run, table="public.app_versions"))
        assert (result.outcome.succeeded, result.version) == (True, 3)
        fluxbase_startup.move(person.dsn)
    assert journal(person.dsn) == ["1", "2", "3"]


def test_fluxbases_own_system_migrations_are_no_version_of_the_users_files(
    database: Database, tmp_path: Path
) -> None:
    """A baseline of 71 would leave out every file up to it."""
    person = Terminal(Fluxbase(fluxbase_startup.LATER_TABLE), database, tmp_path)
    said = person.is_refused("up")
    assert str(fluxbase_startup.SYSTEM_VERSION) not in said
    assert command_in(said)[:3] == ["baseline", "--from", fluxbase_startup.LATER_TABLE]
