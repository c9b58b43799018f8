"""What ``rollback`` and ``force`` of ``kubectl fluxbase`` change, and what they ask about first."""

from typing import Any

import pytest

from fluxbase_migrations.cli.kubectl.steering import MANAGER, rollback, unknown_version
from fluxbase_migrations.core.names import Track

FILES = {"data": {"001_a.up.sql": "select 1", "004_b.up.sql": "select 4"}}


def a_set(user: dict[str, Any], owned: tuple[str, ...] = (), manager: str = MANAGER) -> dict[str, Any]:
    fields: dict[str, Any] = {"f:spec": {"f:tracks": {"f:user": {f"f:{name}": {} for name in owned}}}}
    managed = [{"manager": "helm", "fieldsV1": {}}, {"manager": manager, "fieldsV1": fields}]
    return {"metadata": {"managedFields": managed}, "spec": {"tracks": {"user": user}}, "status": {}}


@pytest.mark.parametrize(
    ("found", "target", "change"),
    [
        (a_set({}), 3, {"targetVersion": 3, "rollback": "Allow"}),
        (a_set({"rollback": "Forbid"}), 0, {"targetVersion": 0, "rollback": "Allow"}),
        (a_set({"rollback": "Allow"}), 3, {"targetVersion": 3}),
        (a_set({"rollback": "Allow"}, ("rollback",)), None, {"targetVersion": None, "rollback": None}),
        (a_set({"rollback": "Allow"}, ("rollback",), "flux"), None, {"targetVersion": None}),
        (a_set({"rollback": "Allow"}), None, {"targetVersion": None}),
    ],
    ids=[
        "leave is given",
        "instead of none",
        "leave that somebody gave is left alone",
        "what the plugin gave it takes back",
        "what others gave it does not",
        "nobody knows who gave it",
    ],
)
def test_a_rollback_gives_leave_and_takes_it_back(
    found: dict[str, Any], target: int | None, change: dict[str, Any]
) -> None:
    assert rollback(found, Track.USER, target) == {"spec": {"tracks": {"user": change}}}


MAP = {"source": {"configMap": {"name": "files"}}}
VOLUME = {"source": {"persistentVolumeClaim": {"claimName": "files"}}}


@pytest.mark.parametrize(
    ("user", "version", "told"),
    [
        (MAP, 4, None),
        (MAP, -1, None),
        (MAP, 99, "has no version 99: it has 1 to 4"),
        (MAP, 2, "has no version 2"),
        ({"source": {"configMap": {"name": "none"}}}, 4, "ConfigMap none not found"),
        ({"source": {"configMaps": [{"name": "files"}, {"name": "same"}]}}, 9, None),
        ({}, 1, "it has no migration files"),
        (VOLUME, 9, "versions up to 7 on the volume"),
        (VOLUME, 3, None),
    ],
    ids=str,
)
def test_a_version_that_the_source_lacks_is_told(
    user: dict[str, Any], version: int, told: str | None
) -> None:
    def read(name: str) -> dict[str, Any]:
        if name == "none":
            raise LookupError("ConfigMap none not found")
        return FILES

    found = a_set(user)
    found["status"] = {"tracks": {"user": {"latest": 7}}}
    made = unknown_version(found, Track.USER, version, read)
    assert made is None if told is None else told in str(made)


def test_the_versions_of_the_built_in_track_are_known() -> None:
    assert unknown_version(a_set({}), Track.SYSTEM, 1, _none) is None
    assert "no version 999" in str(unknown_version(a_set({}), Track.SYSTEM, 999, _none))


def _none(name: str) -> dict[str, Any]:
    raise AssertionError(f"nobody needs {name}")
