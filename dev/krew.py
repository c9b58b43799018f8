"""The plugin for krew: ``python -m dev.krew --url URL --homepage URL`` writes it to dist/krew.

An archive has our package and its libraries in ``lib``, for every Python that we support at once: the files
of compiled modules have the Python's version in their names. Run by a Python that has the extra ``kubectl``.
"""

import argparse
import gzip
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Final

from fluxbase_migrations import __version__

ROOT: Final = Path(__file__).parents[1]
SOURCES: Final = ROOT / "deploy" / "krew"
PROGRAM: Final = "kubectl-fluxbase"
LOCK: Final = ROOT / "requirements-kubectl.lock"
LOADED: Final = """
import sys
import fluxbase_migrations.cli.kubectl.completing, fluxbase_migrations.cli.kubectl.program
from fluxbase_migrations.cli.kubectl import cluster
from kubernetes import client, config
for name in cluster.APIS:
    getattr(client, name)
print(*(name for name in sys.modules if name.startswith("kubernetes.client.")))
"""
"""Prints what the plugin loads of the Kubernetes client."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A machine that krew knows, and whose wheels run on it."""

    os: str
    arch: str
    tags: Sequence[str]

    @property
    def archive(self) -> str:
        """The name of its archive, as deploy/krew/fluxbase.yaml has it."""
        return f"{PROGRAM}_v{__version__}_{self.os}_{self.arch}.tar.gz"

    @property
    def variable(self) -> str:
        """Of the archive's checksum, there."""
        return f"SHA256_{self.os}_{self.arch}".upper()


PLATFORMS: Final = (
    Platform("linux", "amd64", ("manylinux_2_17_x86_64", "manylinux_2_28_x86_64")),
    Platform("linux", "arm64", ("manylinux_2_17_aarch64", "manylinux_2_28_aarch64")),
    Platform("darwin", "amd64", ("macosx_10_13_x86_64",)),
    Platform("darwin", "arm64", ("macosx_11_0_arm64",)),
)


def pythons() -> list[tuple[int, int]]:
    """Those that pyproject.toml names, the oldest first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = (one.rpartition(" :: ")[2] for one in project["classifiers"] if "Python :: 3." in one)
    return sorted((int(one.split(".")[0]), int(one.split(".")[1])) for one in named)


def build(platform: Platform, versions: Sequence[tuple[int, int]], directory: Path) -> Path:
    """Make the archive of a platform for these Pythons; returns its path."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "plugin"
        library = root / "lib"
        wheels = Path(name) / "wheels"
        for version in versions:
            _download(platform, version, wheels)
        _pip("wheel", "--no-build-isolation", "--wheel-dir", wheels, ROOT)
        for wheel in wheels.iterdir():
            zipfile.ZipFile(wheel).extractall(library)  # noqa: S202 - pinned by hash, or our own
        _prune(library / "kubernetes")
        shutil.copy(ROOT / "LICENSE", root)
        (root / PROGRAM).write_text(_launcher(versions))
        (root / PROGRAM).chmod(0o755)
        directory.mkdir(parents=True, exist_ok=True)
        archive = directory / platform.archive
        archive.write_bytes(_packed(root))
    return archive


def _download(platform: Platform, version: tuple[int, int], to: Path) -> None:
    """Add the wheels of one Python's libraries; most are the same for all."""
    wheels = ("--only-binary", ":all:", "--python-version", ".".join(map(str, version)))
    tags = (word for tag in platform.tags for word in ("--platform", tag))
    _pip("download", "--require-hashes", *wheels, *tags, "--dest", to, "-r", LOCK)


def _pip(command: str, *words: str | Path) -> None:
    quiet = ("--quiet", "--disable-pip-version-check", "--no-deps")
    subprocess.run([sys.executable, "-m", "pip", command, *quiet, *words], check=True)


def _prune(kubernetes: Path) -> None:
    """Leave out the asynchronous half, and the classes of kinds of objects that the plugin never loads."""
    shutil.rmtree(kubernetes / "aio")
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    for kind in ("api", "models"):
        for path in (kubernetes / "client" / kind).glob("*.py"):
            if path.name != "__init__.py" and f"kubernetes.client.{kind}.{path.stem}" not in loaded:
                path.unlink()


def _launcher(versions: Sequence[tuple[int, int]]) -> str:
    text = (SOURCES / PROGRAM).read_text()
    return Template(text).substitute(OLDEST=min(versions), NEWEST=max(versions))


def _packed(root: Path) -> bytes:
    """The same bytes from the same files, whenever and wherever."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            entry = tarfile.TarInfo(str(path.relative_to(root)))
            entry.size = path.stat().st_size
            entry.mode = 0o755 if path.name == PROGRAM or path.suffix == ".so" else 0o644
            with path.open("rb") as content:
                tar.addfile(entry, content)
    return gzip.compress(packed.getvalue(), mtime=0)


def manifest(archives: Mapping[Platform, Path], url: str, homepage: str) -> str:
    """The plugin's manifest for these archives, which are to be at ``url``."""
    oldest, *_, newest = (f"{major}.{minor}" for major, minor in pythons())
    values = {
        "VERSION": __version__,
        "HOMEPAGE": homepage,
        "RELEASE_URL": url.rstrip("/"),
        "PYTHONS": f"Python {oldest} to {newest}",
        **{one.variable: hashlib.sha256(path.read_bytes()).hexdigest() for one, path in archives.items()},
    }
    text = (SOURCES / "fluxbase.yaml").read_text()
    return Template(text.partition("\n")[2]).substitute(values)


def main(words: Iterable[str] | None = None) -> int:
    """Build everything."""
    parser = argparse.ArgumentParser(prog="python -m dev.krew", description=__doc__)
    parser.add_argument("--url", required=True, help="directory on the web where the archives will be")
    parser.add_argument("--homepage", required=True, help="the project's page")
    parser.add_argument("--to", type=Path, default=ROOT / "dist" / "krew", metavar="DIR")
    given = parser.parse_args(None if words is None else list(words))
    archives = {platform: build(platform, pythons(), given.to) for platform in PLATFORMS}
    (given.to / "fluxbase.yaml").write_text(manifest(archives, given.url, given.homepage))
    for path in sorted(given.to.iterdir()):
        print(f"{path} {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
