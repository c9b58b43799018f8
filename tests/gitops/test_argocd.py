"""Argo CD's health check: the script as Argo CD runs it, on statuses that the operator wrote.

The layout is that of Argo CD's own repository, so that the directory can be contributed there as it is.
"""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa import lua51

from dev.localcluster.tools import tool
from fluxbase_migrations.core.names import API_VERSION, GROUP, KIND

ROOT = Path(__file__).parents[2]
ARGOCD = ROOT / "deploy/argocd"
CHECK = ARGOCD / "resource_customizations" / GROUP / KIND
SCRIPT = (CHECK / "health.lua").read_text()
CASES: list[dict[str, Any]] = yaml.safe_load((CHECK / "health_test.yaml").read_text())["tests"]
KEY = f"resource.customizations.health.{GROUP}_{KIND}"
STATUSES = ("Healthy", "Progressing", "Degraded", "Suspended")


def health(body: dict[str, Any]) -> dict[str, str]:
    """Run the script on an object, with no more of Lua's library than Argo CD gives it."""
    lua = lua51.LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False)
    names = lua.globals()
    for name in ("io", "os", "package", "require", "dofile", "loadfile", "loadstring", "debug", "python"):
        names[name] = None
    names["obj"] = lua.table_from(body, recursive=True)
    return dict(lua.execute(SCRIPT))


def load(path: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHECK / path).read_text())
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: Path(case["inputPath"]).stem)
def test_the_health_is_what_the_case_says(case: dict[str, Any]) -> None:
    body = load(case["inputPath"])
    assert (body["apiVersion"], body["kind"]) == (API_VERSION, KIND)
    assert health(body) == case["healthStatus"]


def test_every_testdata_is_a_case_and_every_health_has_one() -> None:
    assert {case["inputPath"] for case in CASES} == {
        str(path.relative_to(CHECK)) for path in CHECK.glob("testdata/*.yaml")
    }
    assert {case["healthStatus"]["status"] for case in CASES} == set(STATUSES)


def test_an_object_without_status_or_conditions_is_progressing() -> None:
    body = load("testdata/healthy_applied.yaml")
    assert health({**body, "status": {"observedGeneration": 1}})["status"] == "Progressing"
    del body["status"]
    assert health(body)["status"] == "Progressing"


def test_the_patch_of_argocd_cm_has_this_script_and_leaves_other_keys_alone(tmp_path: Path) -> None:
    installed = tmp_path / "argocd-cm.yaml"
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm"},
        "data": {"url": "x"},
    }
    installed.write_text(yaml.safe_dump(document))
    patch = ("--patch-file", str(ARGOCD / "argocd-cm.yaml"))
    done = subprocess.run(
        [str(tool("kubectl")), "patch", "--local", "-f", str(installed), *patch, "-o", "yaml"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["data"] == {"url": "x", KEY: SCRIPT}
