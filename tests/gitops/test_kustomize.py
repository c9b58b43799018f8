"""docs/gitops.md: a ConfigMap named by its content changes the set's spec when a file changes."""

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from dev.localcluster.tools import tool

ROOT = Path(__file__).parents[2]
MIGRATIONS = ROOT / "examples/shop/migrations"
FILES = ("001_create_products_table.up.sql", "001_create_products_table.down.sql")


def write_page(directory: Path) -> None:
    """The page's two files, with the example's set and migrations."""
    page = (ROOT / "docs/gitops.md").read_text()
    for name in ("kustomization.yaml", "names.yaml"):
        [block] = re.findall(rf"^```yaml\n(# {re.escape(name)}\b.*?)^```", page, re.MULTILINE | re.DOTALL)
        (directory / name).write_text(block)
    (directory / "migrationset.yaml").write_text((ROOT / "examples/shop/migrationset.yaml").read_text())
    (directory / "migrations").mkdir()
    for name in FILES:
        (directory / "migrations" / name).write_text((MIGRATIONS / name).read_text())


def names(directory: Path) -> tuple[str, str]:
    """The generated ConfigMap's name, and the one that the set asks for."""
    done = subprocess.run(
        [str(tool("kubectl")), "kustomize", str(directory)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = {one["kind"]: one for one in yaml.safe_load_all(done.stdout)}
    source = found["FluxbaseMigrationSet"]["spec"]["tracks"]["user"]["source"]
    return found["ConfigMap"]["metadata"]["name"], source["configMap"]["name"]


def test_a_changed_file_changes_the_sets_spec(tmp_path: Path) -> None:
    write_page(tmp_path)
    made, wanted = names(tmp_path)
    assert made == wanted
    assert re.fullmatch(r"user-migrations-\w+", made)
    (tmp_path / "migrations" / FILES[0]).write_text("SELECT 1;\n")
    changed, wanted = names(tmp_path)
    assert changed == wanted != made
