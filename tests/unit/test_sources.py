"""ConfigMaps as sources, and who refers to which."""

import base64

from fluxbase_migrations.controller.sources import References, summarize
from fluxbase_migrations.core.digest import source_digest

UP = "create table a (id int);"


def test_the_digest_is_the_runners() -> None:
    seen = summarize({"a": {"data": {"001_a.up.sql": UP, "README": "x"}}})
    assert seen.digest == source_digest({"001_a.up.sql": UP.encode()})
    assert (seen.migrations, seen.invalid) == (1, None)


def test_binary_data_counts_like_text() -> None:
    binary = {"binaryData": {"001_a.up.sql": base64.b64encode(UP.encode()).decode()}}
    assert summarize({"a": binary}) == summarize({"a": {"data": {"001_a.up.sql": UP}}})


def test_several_are_merged() -> None:
    both = summarize({"a": {"data": {"001_a.up.sql": UP}}, "b": {"data": {"002_b.up.sql": UP}}})
    assert both == summarize({"a": {"data": {"001_a.up.sql": UP, "002_b.up.sql": UP}}})


def test_a_file_in_two_of_them_is_an_error_that_names_both() -> None:
    seen = summarize({"a": {"data": {"001_a.up.sql": UP}}, "b": {"data": {"001_a.up.sql": UP}}})
    assert seen.invalid is not None
    assert "a and b" in seen.invalid.message


def test_empty_means_no_migration_files() -> None:
    for body in ({}, {"data": None}, {"data": {"README": "x"}}):
        seen = summarize({"a": body})
        assert (seen.migrations, seen.invalid) == (0, None)


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
    references = References()
    one, two = ("ns", "one"), ("ns", "two")
    a, b = ("ns", "a"), ("ns", "b")
    references.put(one, frozenset({a, b}))
    references.put(two, frozenset({b}))
    assert references.of(b) == {one, two}
    references.put(one, frozenset({a}))
    assert references.of(b) == {two}
    references.put(two, frozenset())
    assert references.of(b) == frozenset()
    assert references.sets() == {one}
