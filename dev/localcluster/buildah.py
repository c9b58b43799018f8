"""Container images without a daemon or a registry: buildah with its own storage, archives for containerd."""

import configparser
import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from dev.localcluster.cache import Cache, contained
from dev.localcluster.report import run

BUILD_TIMEOUT_SECONDS = 1200.0


class Buildah:
    """Buildah with its storage in the cache directory."""

    def __init__(self, cache: Cache) -> None:
        self._root = cache.root / "buildah"
        self._tmp = cache.root / "tmp"

    def _argv(self, *words: str | Path) -> list[str | Path]:
        options: list[str | Path] = ["--root", self._root / "storage", "--runroot", self._root / "run"]
        return contained(["buildah", *options, "--storage-driver", "overlay", *words])

    def _run(self, log: Path, *words: str | Path) -> None:
        self._tmp.mkdir(parents=True, exist_ok=True)
        run(self._argv(*words), log=log, timeout=BUILD_TIMEOUT_SECONDS, env={"TMPDIR": str(self._tmp)})

    def has(self, ref: str) -> bool:
        """Whether the storage holds an image of that name."""
        argv = [str(word) for word in self._argv("inspect", "--type", "image", ref)]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def load(self, archive: Path, ref: str, log: Path) -> None:
        """Make an image from an archive available to later builds under its name."""
        if not self.has(ref):
            self._run(log, "pull", "--quiet", f"docker-archive:{archive}:{ref}")

    def image_of_directory(self, directory: Path, ref: str, log: Path) -> None:
        """An image of one layer, the content of `directory`."""
        with tempfile.TemporaryDirectory(dir=self._tmp) as scratch:
            context = Path(scratch)
            (context / "Dockerfile").write_text("FROM scratch\nCOPY root /\n")
            directory.rename(context / "root")
            self.build(context, ref, log)

    def build(
        self,
        context: Path,
        ref: str,
        log: Path,
        *,
        target: str | None = None,
        build_args: Mapping[str, str] | None = None,
        network: bool = False,
    ) -> None:
        """Build the Dockerfile of a context.

        Args:
            context: A directory with a Dockerfile and no more than that needs.
            ref: The name of the image.
            log: What the build prints.
            target: The stage that is the image; the last one if none is named.
            build_args: Values of the Dockerfile's ARGs.
            network: Whether its steps reach package registries; they then get the machine's pip settings and
                the certificate authorities that the machine trusts.
        """
        words: list[str | Path] = [
            "bud",
            "--isolation",
            "chroot",
            "--layers",
            "--force-rm",
            "--format",
            "oci",
        ]
        if target:
            words += ["--target", target]
        for name, value in (build_args or {}).items():
            words += ["--build-arg", f"{name}={value}"]
        with tempfile.TemporaryDirectory(dir=self._tmp) as scratch:
            if network:
                words += _registry_access(Path(scratch))
            self._run(log, *words, "--tag", ref, context)

    def archive(self, ref: str, file: Path, log: Path) -> None:
        """Write an image to a file that containerd imports."""
        self._run(log, "push", "--quiet", ref, f"docker-archive:{file}:{ref}")

    def remove(self, ref: str) -> None:
        """Remove an image from the storage, with the layers that no other uses."""
        subprocess.run(
            [str(word) for word in self._argv("rmi", "--force", ref)], capture_output=True, check=False
        )


def _registry_access(scratch: Path) -> list[str | Path]:
    """Options that let `pip` and `apt` within a build reach what they reach on this machine."""
    words: list[str | Path] = []
    authorities = trusted_authorities()
    if authorities.is_file():
        words += ["--secret", f"id=ca,src={authorities}"]
    configuration, links = pip_configuration()
    for directory in links:
        words += ["--volume", f"{directory}:{directory}:ro"]
    if configuration:
        (scratch / "pip.conf").write_text(configuration)
        words += ["--volume", f"{scratch / 'pip.conf'}:/etc/pip.conf:ro"]
    apt = subprocess.run(
        ["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=False
    ).stdout
    proxies = [line for line in apt.splitlines() if "::Proxy" in line and not line.endswith('"";')]
    if proxies:
        (scratch / "apt.conf").write_text("\n".join(proxies) + "\n")
        words += ["--volume", f"{scratch / 'apt.conf'}:/etc/apt/apt.conf.d/90machine:ro"]
    return words


def trusted_authorities() -> Path:
    """The file of the certificate authorities that this machine trusts."""
    return Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt")


def pip_configuration() -> tuple[str, list[str]]:
    """This machine's pip.conf for another file system, and the directories of packages that it names.

    A certificate file is a path of this machine, and left out: `trusted_authorities` is to be given instead.
    """
    settings = _pip_settings()
    links = [word for word in settings.get("find-links", "").split() if Path(word).is_dir()]
    kept = {name: value for name, value in settings.items() if name not in ("cert", "find-links")}
    if links:
        kept["find-links"] = "\n".join(links)
    if not kept:
        return "", []
    parser = configparser.RawConfigParser()
    parser["global"] = kept
    text = io.StringIO()
    parser.write(text)
    return text.getvalue(), links


def _pip_settings() -> dict[str, str]:
    """Pip's global settings on this machine, from its files and PIP_ variables, the latter winning."""
    settings: dict[str, str] = {}
    if shutil.which("pip"):
        output = subprocess.run(["pip", "config", "list"], capture_output=True, text=True, check=False).stdout
        for line in output.splitlines():
            name, _, value = line.partition("=")
            if name.startswith(("global.", "install.")):
                settings[name.partition(".")[2]] = value.strip("'")
    else:
        parser = configparser.RawConfigParser()
        parser.read(["/etc/pip.conf", Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf"])
        settings |= dict(parser["global"]) if parser.has_section("global") else {}
    for variable, value in os.environ.items():
        if variable.startswith("PIP_"):
            settings[variable[4:].lower().replace("_", "-")] = value
    return settings
