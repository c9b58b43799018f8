"""What ``kubectl fluxbase create`` makes of a directory."""

from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from fluxbase_migrations.api.spec import Spec
from fluxbase_migrations.cli.kubectl import documents
from fluxbase_migrations.cli.kubectl.creating import CONFIG_MAP_BYTES, MOST_CONFIG_MAPS, NewSet, objects
from fluxbase_migrations.cli.kubectl.program import main
from fluxbase_migrations.core.config_maps import merged
from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.json_names import Json

WANTED = NewSet("shop", None, "shop-db", "url", "shop-migrations")


def up(version: int, content: bytes = b"SELECT 1;\n") -> tuple[str, bytes]:
    return f"{version:03d}_a.up.sql", content


def made(files: dict[str, bytes], wanted: NewSet = WANTED) -> tuple[list[Json], Json]:
    *maps, found = objects(wanted, files)
    return maps, found


def test_a_small_directory_is_one_config_map() -> None:
    (config_map,), found = made(dict([up(1), up(2)]))
    assert config_map["metadata"] == {"name": "shop-migrations"}
    assert found["spec"]["tracks"]["user"]["source"] == {"configMap": {"name": "shop-migrations"}}


@pytest.mark.parametrize("count", [1, 5, 20])
def test_the_config_maps_hold_every_file_once_and_fit(count: int) -> None:
    files = dict(up(number, b"-" * 400_000) for number in range(1, count + 1))
    maps, found = made(files)
    named = {one["metadata"]["name"]: one for one in maps}
    assert merged(named) == files
    for one in maps:
        assert sum(len(name) + len(text.encode()) for name, text in one["data"].items()) <= CONFIG_MAP_BYTES
    source = found["spec"]["tracks"]["user"]["source"]
    assert [one["name"] for one in source.get("configMaps", [source.get("configMap")])] == list(named)
    Spec.model_validate(found["spec"])


def test_a_further_migration_changes_only_the_last_config_map() -> None:
    files = dict(up(number, b"-" * 400_000) for number in range(8, 13))
    before, _ = made(files)
    after, _ = made(files | dict([up(13)]))
    assert [one["metadata"]["name"] for one in before] == [
        "shop-migrations",
        "shop-migrations-2",
        "shop-migrations-3",
    ]
    assert after[: len(before) - 1] == before[:-1]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no migration files"),
        ({"README.md": b""}, "no migration files"),
        ({"one.sql": b""}, "not a migration's name"),
        (dict([up(1, b"\xff")]), "is not UTF-8"),
        (dict([up(1, b"-" * (CONFIG_MAP_BYTES + 1))]), "a ConfigMap holds 1 MiB"),
        (dict(up(number, b"-" * 900_000) for number in range(MOST_CONFIG_MAPS + 1)), "need 33 ConfigMaps"),
    ],
    ids=["empty", "nothing else", "a typo", "not UTF-8", "a file that is too large", "too many"],
)
def test_what_no_set_could_use_is_refused(files: dict[str, bytes], words: str) -> None:
    with pytest.raises(InvalidSource, match=words):
        objects(WANTED, files)


def test_fields_of_the_set_are_what_was_asked_for() -> None:
    wanted = NewSet("shop", "fluxbase", "db", "dsn", "files", baseline=7, suspend=True)
    (config_map,), found = made(dict([up(7)]), wanted)
    assert config_map["metadata"] == {"name": "files", "namespace": "fluxbase"}
    assert found["spec"]["database"] == {"urlFrom": {"secretKeyRef": {"name": "db", "key": "dsn"}}}
    assert (found["spec"]["suspend"], found["spec"]["tracks"]["user"]["baseline"]) == (True, 7)
    Spec.model_validate(found["spec"])


@example(text="a\r\nb\r\n")
@example(text="  a\n\n\n")
@example(text="\u0085\u2028")
@given(text=st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0")))
def test_files_come_out_of_the_document_as_they_went_in(text: str) -> None:
    (config_map,), _ = made({"001_a.up.sql": text.encode()})
    (read,) = yaml.safe_load_all(documents.as_file([config_map], "yaml") + "\n")
    assert read == config_map


@pytest.mark.parametrize("namespace", [(), ("-n", "other")])
def test_a_dry_run_needs_no_cluster(
    namespace: tuple[str, ...], tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    (tmp_path / "001_a.up.sql").write_text("SELECT 1;\n")
    command = ["create", "fbms/shop", "--from-file", str(tmp_path), "--database-secret", "db:dsn", *namespace]
    assert main([*command, "--dry-run=client", "-o", "yaml"]) == 0
    config_map, found = yaml.safe_load_all(capsys.readouterr().out)
    assert config_map["data"] == {"001_a.up.sql": "SELECT 1;\n"}
    assert found["metadata"].get("namespace") == (namespace[1] if namespace else None)
    assert found["spec"]["database"]["urlFrom"]["secretKeyRef"] == {"name": "db", "key": "dsn"}


def test_a_directory_that_cannot_be_used_is_an_error_with_its_place(tmp_path: Any, capsys: Any) -> None:
    command = ["create", "shop", "--from-file", str(tmp_path / "none"), "--database-secret", "db"]
    assert main([*command, "--dry-run=client"]) == 1
    assert "cannot read the directory" in capsys.readouterr().err
