"""The krew plugin: a manifest that krew takes, and an archive that runs by itself."""

import hashlib
import os
import platform
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import krew
from fluxbase_migrations import __version__
from tests.install.conftest import Typed

pytestmark = pytest.mark.timeout(600)
PLATFORM_FIELDS = {"selector", "uri", "sha256", "bin", "files"}
SPEC_FIELDS = {"version", "homepage", "shortDescription", "description", "caveats", "platforms"}


def problems(manifest: dict[str, Any], file: str) -> list[str]:
    """Where a manifest breaks the rules that krew holds it to before it installs anything."""
    spec, name = manifest["spec"], manifest["metadata"]["name"]
    found = {
        "apiVersion": manifest["apiVersion"] == "krew.googlecontainertools.github.com/v1alpha2",
        "kind": manifest["kind"] == "Plugin",
        "name": re.fullmatch(r"[\w-]+", name) is not None and file == f"{name}.yaml",
        "version": re.fullmatch(r"v\d+\.\d+\.\d+", spec.get("version", "")) is not None,
        "shortDescription": re.fullmatch(r"[^\r\n]+", spec.get("shortDescription", "")) is not None,
        "platforms": bool(spec.get("platforms")),
        "fields": spec.keys() <= SPEC_FIELDS
        and manifest.keys() == {"apiVersion", "kind", "metadata", "spec"},
    }
    for one in spec.get("platforms", ()):
        found |= {
            "uri": re.fullmatch(r"https://\S+\.(tar\.gz|zip)", one.get("uri", "")) is not None,
            "sha256": re.fullmatch(r"[a-f0-9]{64}", one.get("sha256", "")) is not None,
            "bin": bool(one.get("bin")),
            "selector": one.get("selector", {}).get("matchLabels", {}).keys() == {"os", "arch"},
            "platform": one.keys() <= PLATFORM_FIELDS,
        }
        if not all(found.values()):
            break
    return [rule for rule, kept in found.items() if not kept]


@pytest.fixture
def archives(tmp_path: Path) -> dict[krew.Platform, Path]:
    """A file for each platform, in the place of its archive."""
    found = {one: tmp_path / one.archive for one in krew.PLATFORMS}
    for path in found.values():
        path.write_text(path.name)
    return found


def test_the_manifest_is_one_that_krew_takes(archives: dict[krew.Platform, Path]) -> None:
    text = krew.manifest(archives, "https://example.com/v1/", "https://example.com")
    assert problems(yaml.safe_load(text), "fluxbase.yaml") == []
    assert "$" not in text.replace('"${KREW_ROOT:-$HOME/.krew}/', "")


def test_each_platform_gets_its_own_archive(archives: dict[krew.Platform, Path]) -> None:
    text = krew.manifest(archives, "https://example.com/v1/", "https://example.com")
    for one in yaml.safe_load(text)["spec"]["platforms"]:
        (found,) = (p for p in archives if {"os": p.os, "arch": p.arch} == one["selector"]["matchLabels"])
        assert one["uri"] == f"https://example.com/v1/{archives[found].name}"
        assert one["sha256"] == hashlib.sha256(archives[found].read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"version": "0.1.0"}, "version"),
        ({"shortDescription": "two\nlines"}, "shortDescription"),
        ({"platforms": []}, "platforms"),
        ({"unknown": 1}, "fields"),
    ],
)
def test_a_broken_manifest_is_noticed(
    archives: dict[krew.Platform, Path], change: dict[str, Any], rule: str
) -> None:
    made = yaml.safe_load(krew.manifest(archives, "https://example.com", "https://example.com"))
    made["spec"] |= change
    assert problems(made, "fluxbase.yaml") == [rule]


def test_the_archive_has_every_python_that_is_supported() -> None:
    assert krew.pythons()[0] == (3, 11)
    assert sys.version_info[:2] in krew.pythons()


def this_machine() -> krew.Platform:
    arch = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]
    (found,) = (one for one in krew.PLATFORMS if (one.os, one.arch) == (sys.platform, arch))
    return found


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive for this machine and this Python, unpacked, with links to it, as krew makes them."""
    root = tmp_path_factory.mktemp("krew")
    archive = krew.build(this_machine(), [sys.version_info[:2]], root)
    with tarfile.open(archive) as packed:
        packed.extractall(root / "store", filter="data")
    (root / "bin").mkdir()
    (root / "bin" / "python3").symlink_to(sys.executable)
    (root / "bin" / krew.PROGRAM).symlink_to(root / "store" / krew.PROGRAM)
    (root / "bin" / "kubectl_complete-fluxbase").symlink_to(krew.PROGRAM)
    return root


def test_the_archive_runs_by_itself(plugin: Path, typed: Typed) -> None:
    path = f"{plugin / 'bin'}:/usr/bin:/bin"
    program = plugin / "bin" / krew.PROGRAM
    assert typed(program, "version", "--client", PATH=path) == (0, f"Client: {__version__}\n")
    assert "no cluster to talk to" in typed(program, "list", PATH=path)[1]
    offered = typed(plugin / "bin" / "kubectl_complete-fluxbase", "descr", PATH=path)
    assert offered[1].startswith("describe\t")


ALL = """
import importlib, pkgutil, sys
sys.path[:] = [sys.argv[1], *(path for path in sys.path if "site-packages" not in path)]
import kubernetes.client.api, kubernetes.client.models
for package in (kubernetes.client.api, kubernetes.client.models):
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
print(len(sys.modules))
"""


def test_what_is_left_of_the_client_lacks_nothing(plugin: Path) -> None:
    """Each class that stayed finds those that it names: what a server sends can be read."""
    library = str(plugin / "store" / "lib")
    subprocess.run([sys.executable, "-I", "-c", ALL, library], check=True, env={"PATH": os.environ["PATH"]})


def test_another_python_is_named(plugin: Path, tmp_path: Path) -> None:
    text = (plugin / "store" / krew.PROGRAM).read_text()
    running = sys.version_info[:2]
    newer = tmp_path / krew.PROGRAM
    newer.write_text(re.sub(r"OLDEST, NEWEST = .*", "OLDEST, NEWEST = (4, 0), (4, 1)", text))
    done = subprocess.run([sys.executable, newer], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    here = f"{running[0]}.{running[1]}"
    said = f"error: python3 on PATH is Python {here}; kubectl fluxbase needs one from 4.0 to 4.1\n"
    assert done.stderr == said
