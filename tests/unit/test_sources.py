"""ConfigMaps as sources, and who refers to which."""

import base64

import pytest

from fluxbase_migrations.controller.watch.config_map_reader import ConfigMapIndex, summarize
from fluxbase_migrations.core.digest import source_digest
from fluxbase_migrations.core.names import UnknownFiles

UP = "create table a (id int);"


def test_the_digest_is_the_runners() -> None:
    seen = summarize({"a": {"data": {"001_a.up.sql": UP, "README": "x"}}})
    assert seen.digest == source_digest({"001_a.up.sql": UP.encode()})
    assert (seen.versions, seen.invalid) == ((1,), None)


def test_binary_data_counts_like_text() -> None:
    binary = {"binaryData": {"001_a.up.sql": base64.b64encode(UP.encode()).decode()}}
    assert summarize({"a": binary}).digest == summarize({"a": {"data": {"001_a.up.sql": UP}}}).digest


def test_several_are_merged() -> None:
    both = summarize({"a": {"data": {"001_a.up.sql": UP}}, "b": {"data": {"002_b.up.sql": UP}}})
    one = summarize({"a": {"data": {"001_a.up.sql": UP, "002_b.up.sql": UP}}})
    assert (both.digest, both.versions) == (one.digest, (1, 2))


def test_a_file_in_two_of_them_is_an_error_that_names_both() -> None:
    seen = summarize({"a": {"data": {"001_a.up.sql": UP}}, "b": {"data": {"001_a.up.sql": UP}}})
    assert seen.invalid is not None
    assert "a and b" in seen.invalid.message


def test_empty_means_no_migration_files() -> None:
    for body in ({}, {"data": None}, {"data": {"README": "x"}}):
        seen = summarize({"a": body})
        assert (seen.versions, seen.invalid) == ((), None)


def test_files_that_cannot_be_used_are_told_by_name() -> None:
    bad = base64.b64encode(b"select '\xff'").decode()
    for body, file in (
        ({"data": {"create_users.sql": UP}}, "create_users.sql"),
        ({"data": {"001_a.up.sql": UP, "1_b.up.sql": UP}}, "1_b.up.sql"),
        ({"binaryData": {"001_a.up.sql": bad}}, "001_a.up.sql"),
    ):
        seen = summarize({"a": body})
        assert seen.invalid is not None
        assert seen.invalid.file == file


def test_references_follow_the_sets() -> None:
    references = ConfigMapIndex()
    one, two = ("ns", "one"), ("ns", "two")
    a, b = ("ns", "a"), ("ns", "b")
    references.put(one, frozenset({a, b}))
    references.put(two, frozenset({b}))
    assert references.of(b) == {one, two}
    assert references.put(one, frozenset({a})) == frozenset()
    assert references.of(b) == {two}
    assert references.put(two, frozenset()) == {b}
    assert references.of(b) == frozenset()
    assert references.of(a) == {one}


def test_small_files_can_go_by_the_environment() -> None:
    seen = summarize(
        {"a": {"data": {"002_b.up.sql": UP, "README": "x"}}, "b": {"data": {"001_a.up.sql": UP}}}
    )
    assert seen.small == (("a", "002_b.up.sql"), ("b", "001_a.up.sql"))


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"001_a.up.sql": "-" * 65537}},
        {"data": {f"{number}_a.up.sql": "-" * 60000 for number in range(1, 6)}},
        {"data": {f"{number}_a.up.sql": UP for number in range(1, 52)}},
        {"data": {"001_a.up.sql": "select '\0'"}},
        {
            "data": {"001_a.up.sql": UP},
            "binaryData": {"002_b.up.sql": base64.b64encode(UP.encode()).decode()},
        },
    ],
    ids=[
        "one is large",
        "together they are large",
        "many",
        "a character that ends a variable",
        "binary data",
    ],
)
def test_what_the_environment_cannot_hold_is_mounted(body: dict[str, dict[str, str]]) -> None:
    assert summarize({"a": body}).small == ()


def test_what_is_no_migration_refuses_the_source_or_is_left_out() -> None:
    bodies = {
        "a": {"data": {"001_a.up.sql": UP, "seed.sql": UP, "README": "x"}},
        "b": {"data": {"002_b.up.sql": UP, "seed.sql": "other", "README": "y"}},
    }
    refused = summarize({"a": bodies["a"]})
    assert refused.invalid is not None
    assert "unknownFiles: Warn" in (refused.invalid.hint or "")
    seen = summarize(bodies, UnknownFiles.WARN)
    assert (seen.invalid, seen.versions) == (None, (1, 2))
    assert seen.digest == summarize({"a": {"data": {"001_a.up.sql": UP, "002_b.up.sql": UP}}}).digest
