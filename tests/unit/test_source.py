"""Reading migration directories as people and the kubelet make them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fluxbase_migrations.core import plan
from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.files import NIL, MigrationFiles
from fluxbase_migrations.core.names import UnknownFiles
from fluxbase_migrations.runner.commands.source import read_directories, scan
from fluxbase_migrations.runner.execution import memory
from fluxbase_migrations.runner.log import Log

LINES: list[str] = []
LOG = Log(write=LINES.append)


def write(directory: Path, *names: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).write_text(name)
    return directory


def test_a_configmap_volume_is_read_through_its_data_link(tmp_path: Path) -> None:
    old = write(tmp_path / "..2026_01", "1_old.up.sql")
    write(tmp_path / "..2026_02", "1_new.up.sql")
    (tmp_path / "..data").symlink_to("..2026_02")
    (tmp_path / "1_new.up.sql").symlink_to("..data/1_new.up.sql")
    assert old.exists()
    assert read_directories([tmp_path], LOG) == {"1_new.up.sql": b"1_new.up.sql"}


def test_what_kubectl_cp_nests_is_found_and_said(tmp_path: Path) -> None:
    write(tmp_path / "user", "1_a.up.sql")
    (tmp_path / "lost+found").mkdir(mode=0)
    LINES.clear()
    assert [*read_directories([tmp_path], LOG)] == ["1_a.up.sql"]
    assert "subdirectory=user" in LINES[0]


def test_two_nested_directories_are_not_guessed_between(tmp_path: Path) -> None:
    write(tmp_path / "a", "1_a.up.sql")
    write(tmp_path / "b", "2_b.up.sql")
    LINES.clear()
    assert read_directories([tmp_path], LOG) == {}
    assert "not read" in LINES[0]
    assert "a,b" in LINES[0]


def test_a_nested_copy_beside_older_files_is_not_read_and_that_is_said(tmp_path: Path) -> None:
    """Files copied once with `user/.` and then with `user/` would otherwise be missed in silence."""
    write(tmp_path, "1_a.up.sql")
    write(tmp_path / "user", "1_a.up.sql", "2_b.up.sql")
    LINES.clear()
    assert [*read_directories([tmp_path], LOG)] == ["1_a.up.sql"]
    assert "subdirectories=user" in LINES[0]


def test_directories_are_merged_and_a_name_in_two_is_refused(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1", "1_a.up.sql"), write(tmp_path / "2", "2_b.up.sql")
    assert [*read_directories([one, two], LOG)] == ["1_a.up.sql", "2_b.up.sql"]
    write(two, "1_a.up.sql")
    with pytest.raises(InvalidSource, match="two places"):
        read_directories([one, two], LOG)


def test_a_missing_directory_is_an_error_unless_it_may_still_come(tmp_path: Path) -> None:
    with pytest.raises(InvalidSource, match="cannot read the directory"):
        read_directories([tmp_path / "none"], LOG)
    assert read_directories([tmp_path / "none"], LOG, missing_ok=True) == {}


def test_a_link_to_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "1_a.up.sql").symlink_to("nowhere")
    with pytest.raises(InvalidSource) as caught:
        read_directories([tmp_path], LOG)
    assert caught.value.info.file == "1_a.up.sql"


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / b"1_caf\xe9.up.sql".decode("utf-8", "surrogateescape")).write_text("")
    with pytest.raises(InvalidSource, match="not UTF-8"):
        read_directories([tmp_path], LOG)


def test_unrelated_files_are_not_read(tmp_path: Path) -> None:
    write(tmp_path, "1_a.up.sql", "README.md", ".1_b.up.sql.swp", "._1_a.up.sql")
    assert [*read_directories([tmp_path], LOG)] == ["1_a.up.sql"]


def test_a_sql_file_that_is_no_migration_is_named_and_not_read(tmp_path: Path) -> None:
    """Whether it refuses the source or is left out; only migrations are in the way of a nested directory."""
    write(tmp_path, "seed.sql")
    (tmp_path / "nowhere.sql").symlink_to("nothing")
    write(tmp_path / "user", "1_a.up.sql")
    files = read_directories([tmp_path], LOG)
    assert files == {"1_a.up.sql": b"1_a.up.sql", "seed.sql": b"", "nowhere.sql": b""}
    with pytest.raises(InvalidSource, match="not a migration's name"):
        scan(files, UnknownFiles.FAIL, LOG)
    LINES.clear()
    found = scan(files, UnknownFiles.WARN, LOG)
    assert found.versions == (1,)
    assert [line.split(" is ignored")[0] for line in LINES] == ["WARN nowhere.sql", "WARN seed.sql"]


def test_one_stray_file_in_two_directories_is_left_out_once(tmp_path: Path) -> None:
    one, two = (
        write(tmp_path / "1", "1_a.up.sql", "seed.sql"),
        write(tmp_path / "2", "2_b.up.sql", "seed.sql"),
    )
    found = scan(read_directories([one, two], LOG), UnknownFiles.WARN, LOG)
    assert (found.versions, len(found.warnings)) == ((1, 2), 1)


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "1_a.up.sql").chmod(0o755)
    (tmp_path / "1_a.up.sql").chmod(0)
    monkeypatch.chdir(tmp_path)
    with _unprivileged(), pytest.raises(InvalidSource, match="Permission denied") as caught:
        read_directories([Path()], LOG)
    assert caught.value.info.file == "1_a.up.sql"
    assert "permissions" in (caught.value.info.hint or "")


def test_a_directory_that_may_not_be_read_is_no_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "closed" / "files", "1_a.up.sql")
    monkeypatch.chdir(tmp_path)
    Path("closed").chmod(0)
    for missing_ok in (False, True):
        with _unprivileged(), pytest.raises(InvalidSource, match="closed/files: Permission denied"):
            read_directories(["closed/files"], LOG, missing_ok=missing_ok)


@contextmanager
def _unprivileged() -> Iterator[None]:
    """Root may read everything: give it up meanwhile."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "1_a.up.sql")
    with pytest.raises(InvalidSource, match="not a regular file") as caught:
        read_directories([tmp_path], LOG)
    assert caught.value.info.file == "1_a.up.sql"


def test_ten_thousand_files_are_one_plan(tmp_path: Path) -> None:
    for version in range(1, 10_001):
        (tmp_path / f"{version:05}_x.up.sql").write_bytes(b"SELECT 1")
    source = MigrationFiles.scan(read_directories([tmp_path], LOG))
    steps = plan.up(source, NIL).steps
    assert [one.version for one in steps] == [*range(1, 10_001)]
    assert steps[-1].to_version == source.latest == 10_000


def test_files_that_do_not_fit_into_the_container_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        with (tmp_path / f"{number}_a.up.sql").open("wb") as file:
            file.truncate(300 << 20)
    monkeypatch.setattr(memory, "limit", lambda: 512 << 20)
    with pytest.raises(InvalidSource, match="this container may use 512 MiB") as caught:
        read_directories([tmp_path], Log(write=print))
    assert "at least 660Mi" in (caught.value.info.hint or "")
