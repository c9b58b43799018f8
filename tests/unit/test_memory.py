"""A file that does not fit into the container's memory is refused before it kills it."""

import pytest

from fluxbase_migrations.core import plan
from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.files import NIL, Source
from fluxbase_migrations.core.names import ENV_MEMORY_LIMIT
from fluxbase_migrations.runner import memory
from fluxbase_migrations.runner.prepared import Prepared

MIB = 1 << 20


def prepared(content: bytes) -> tuple[Source, Prepared]:
    source = Source.scan({"1_a.up.sql": content})
    return source, Prepared.of(plan.up(source, NIL).steps[0])


def test_the_message_has_the_number_to_set() -> None:
    source, file = prepared(b"SELECT '" + b"x" * (10 * MIB) + b"';")
    with pytest.raises(InvalidSource) as caught:
        memory.require(80 * MIB, source, file)
    assert caught.value.info.message == (
        "the file needs 91 MiB of memory, and this container may use 80 MiB; its largest statement has 11 MiB"
    )
    assert caught.value.info.hint == "set spec.job.resources.limits.memory to at least 91Mi, or cut the file"
    memory.require(91 * MIB, source, file)
    memory.require(None, source, file)


def test_many_small_statements_take_little_more_than_their_file() -> None:
    source, file = prepared(b"SELECT 'some text that is here for its size';\n" * 200_000)
    memory.require(memory.BASE + 15 * MIB, source, file)


def test_the_jobs_word_comes_before_the_control_groups() -> None:
    assert memory.limit({ENV_MEMORY_LIMIT: str(512 * MIB)}) == 512 * MIB
    assert memory.limit({ENV_MEMORY_LIMIT: "no number"}) == memory.limit({})
