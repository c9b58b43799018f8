"""The CustomResourceDefinition as it is committed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from fluxbase_migrations.api import crd

ROOT = Path(__file__).resolve().parents[2]
CLIENT_SIDE_APPLY_LIMIT = 256 * 1024
"""Bytes of all annotations of an object, into one of which kubectl apply copies it, as JSON."""


def test_both_committed_copies_are_what_the_models_make() -> None:
    for path in crd.PATHS:
        assert (ROOT / path).read_text() == crd.text(), (
            f"{path}: run python -m fluxbase_migrations.api.crd --write"
        )


def test_it_is_small_enough_for_client_side_apply() -> None:
    as_copied = json.dumps(crd.definition(), separators=(",", ":"))
    assert len(as_copied.encode()) < CLIENT_SIDE_APPLY_LIMIT / 3


def test_it_is_read_as_it_is_written() -> None:
    assert yaml.safe_load(crd.text()) == crd.definition()


def _fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from _fields(field, f"{path}.{name}")
    if "items" in schema:
        yield from _fields(schema["items"], f"{path}[]")


def _schema() -> dict[str, Any]:
    (version,) = crd.definition()["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def test_every_field_has_a_type_and_a_description() -> None:
    for path, field in _fields(_schema()):
        assert field.get("type"), path
        if path != ".metadata":
            assert field.get("description"), path


def test_everything_that_a_rule_may_look_at_is_bounded() -> None:
    spec = _schema()["properties"]["spec"]
    for path, field in _fields(spec):
        if field.get("x-kubernetes-preserve-unknown-fields"):
            continue
        if field["type"] == "string" and "enum" not in field:
            assert "maxLength" in field, path
        if field["type"] == "array":
            assert "maxItems" in field, path
        if "additionalProperties" in field:
            assert "maxProperties" in field, path
