"""A file that does not fit into the container's memory is refused before it kills it."""

from pathlib import Path

import pytest

from fluxbase_migrations.core import plan
from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.files import NIL, MigrationFiles
from fluxbase_migrations.runner.execution import memory
from fluxbase_migrations.runner.sql.prepared_file import Prepared

MIB = 1 << 20


def prepared(content: bytes) -> tuple[MigrationFiles, Prepared]:
    source = MigrationFiles.scan({"1_a.up.sql": content})
    return source, Prepared.of(plan.up(source, NIL).steps[0])


def test_the_message_has_the_number_to_set() -> None:
    source, file = prepared(b"SELECT '" + b"x" * (10 * MIB) + b"';")
    with pytest.raises(InvalidSource) as caught:
        memory.require(80 * MIB, source, file)
    assert caught.value.info.message == (
        "91 MiB of memory are needed, and this container may use 80 MiB: its largest statement has 11 MiB"
    )
    assert caught.value.info.file == "1_a.up.sql"
    assert (caught.value.info.hint or "").startswith("set spec.job.resources.limits.memory to at least 91Mi")
    memory.require(91 * MIB, source, file)
    memory.require(None, source, file)


def test_many_small_statements_take_little_more_than_their_file() -> None:
    source, file = prepared(b"SELECT 'some text that is here for its size';\n" * 200_000)
    memory.require(memory.BASE + 15 * MIB, source, file)


@pytest.mark.parametrize(
    ("content", "limit"),
    [("536870912\n", 512 * MIB), ("max\n", None), ("9223372036854771712\n", None), (None, None)],
    ids=["a limit", "none (version 2)", "none (version 1)", "no control group"],
)
def test_the_limit_is_the_control_groups(tmp_path: Path, content: str | None, limit: int | None) -> None:
    if content is not None:
        (tmp_path / "memory.max").write_text(content)
    assert memory.limit([tmp_path / "gone", tmp_path / "memory.max"]) == limit
