"""Programs built from Go modules, and the Go toolchain that builds them.

Only the Go command's own way to its module proxy is used, as the machine has it set up.
"""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from dev.localcluster import parts
from dev.localcluster.cache import Cache, contained, content_key
from dev.localcluster.layout import OWN_FILES
from dev.localcluster.parts import GoTool
from dev.localcluster.prerequisites import apt_install
from dev.localcluster.report import ClusterError, run

BUILD_TIMEOUT_SECONDS = 2400.0
LINKER_FLAGS = "-s -w"


def _machine() -> str:
    known = {"x86_64": "amd64", "aarch64": "arm64"}
    if platform.machine() not in known:
        raise ClusterError(f"no Go toolchain is known for a {platform.machine()} machine")
    return known[platform.machine()]


def _version(go: str) -> tuple[int, ...]:
    """The version of a go command; zeros if it does not answer."""
    completed = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, cwd="/", check=False)
    match = re.match(r"go(\d+)\.(\d+)", completed.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def find_go() -> str | None:
    """A go command on PATH, or where Go's own installer puts it, that is new enough."""
    for go in (shutil.which("go"), "/usr/local/go/bin/go"):
        if go and Path(go).exists() and _version(go) >= parts.GO_MINIMUM:
            return go
    return None


def _toolchain(cache: Cache) -> str:
    """The go command of a toolchain fetched as a Go module by an older Go."""
    version = f"v0.0.1-go{parts.GO_TOOLCHAIN}.linux-{_machine()}"

    def fetch(work: Path, log: Path) -> None:
        old = shutil.which("go")
        if old is None:
            apt_install(["golang-go"], log)
            old = "/usr/bin/go"
        module = f"golang.org/toolchain@{version}"
        run([old, "mod", "download", module], log=log, cwd=Path("/"), timeout=900)
        where = run([old, "env", "GOMODCACHE"], cwd=Path("/")).strip()
        shutil.copytree(Path(where) / module, work, dirs_exist_ok=True, symlinks=True)
        # A module archive has no executable bits.
        for pattern in ("bin/*", "pkg/tool/*/*"):
            for program in work.glob(pattern):
                program.chmod(0o755)
        work.chmod(0o755)

    return str(cache.build("go", content_key(version), fetch) / "bin" / "go")


def go_command(cache: Cache) -> str:
    """A go command that is new enough: the machine's own, or one fetched and cached."""
    return find_go() or _toolchain(cache)


def _environment() -> dict[str, str]:
    return {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}


def kube_key() -> str:
    """The content key of the Kubernetes binary."""
    return content_key(OWN_FILES / "kube", parts.KUBERNETES, LINKER_FLAGS)


def kube(cache: Cache) -> Path:
    """The directory with the Kubernetes programs, which are one binary under several names, and `pause`."""

    def make(work: Path, log: Path) -> None:
        go = go_command(cache)
        major, minor, _ = parts.KUBERNETES.split(".")
        # Feature gates read the version; left unset, they take every beta feature for unknown.
        stamp = "k8s.io/component-base/version.git"
        stamps = {"Version": f"v{parts.KUBERNETES}", "Major": major, "Minor": minor}
        flags = " ".join([LINKER_FLAGS, *(f"-X {stamp}{name}={value}" for name, value in stamps.items())])
        options: list[str | Path] = ["-trimpath", "-buildvcs=false", "-mod=readonly"]
        for package, program, linked in ((".", "kube", flags), ("./pause", "pause", LINKER_FLAGS)):
            argv: list[str | Path] = [
                go,
                "build",
                *options,
                "-ldflags",
                linked,
                "-o",
                work / program,
                package,
            ]
            source = OWN_FILES / "kube"
            run(contained(argv), log=log, cwd=source, env=_environment(), timeout=BUILD_TIMEOUT_SECONDS)
        for name in parts.KUBE_PROGRAMS:
            (work / name).symlink_to("kube")

    return cache.build("kube", kube_key(), make)


def kstatus(cache: Cache) -> Path:
    """The path of the program that reads objects as kstatus does."""
    source = OWN_FILES / "kstatus"

    def make(work: Path, log: Path) -> None:
        argv: list[str | Path] = [go_command(cache), "build", "-trimpath", "-buildvcs=false", "-mod=readonly"]
        argv += ["-ldflags", LINKER_FLAGS, "-o", work / "kstatus", "."]
        run(contained(argv), log=log, cwd=source, env=_environment(), timeout=BUILD_TIMEOUT_SECONDS)

    return cache.build("kstatus", content_key(source, LINKER_FLAGS), make) / "kstatus"


def tool_key(tool: GoTool) -> str:
    """The content key of a program built with `go install`."""
    return content_key(tool.package, tool.version, tool.tags, LINKER_FLAGS)


def tool(cache: Cache, go_tool: GoTool) -> Path:
    """The path of a program built with `go install` at its pinned version."""

    def make(work: Path, log: Path) -> None:
        env = {**_environment(), "GOBIN": str(work), "GOFLAGS": _flags_without_mod()}
        argv: list[str | Path] = [go_command(cache), "install", "-trimpath", "-ldflags", LINKER_FLAGS]
        argv += ["-tags", go_tool.tags, f"{go_tool.package}@{go_tool.version}"]
        run(contained(argv), log=log, cwd=Path("/"), env=env, timeout=BUILD_TIMEOUT_SECONDS)

    return cache.build(go_tool.name, tool_key(go_tool), make) / go_tool.name


def _flags_without_mod() -> str:
    # `go install package@version` refuses a -mod that the environment sets for everyday work.
    return " ".join(flag for flag in os.environ.get("GOFLAGS", "").split() if not flag.startswith("-mod="))
