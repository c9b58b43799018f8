"""Commands with an image as their file system: what it has, and what is lent to it.

The image's layers are mounted read-only below an empty one, so that nothing that is written stays. All mounts
are in a namespace of the command's own and end with it, even if it is killed. The machine's loopback network
is shared; servers that tests start listen there.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from dev.localcluster.cache import contained
from dev.localcluster.layout import REPOSITORY
from tests.interpreters.layers import ImageFiles

# Files that a container engine would provide.
MACHINE_FILES: Final = ("/etc/hosts", "/etc/resolv.conf")


@dataclass(frozen=True)
class Order:
    """What the process in the new namespace is told, as JSON. Paths on the left are those of the root."""

    scratch: str
    layers: list[str]
    lent: dict[str, str]
    writable: dict[str, str]
    written: dict[str, str]
    environment: dict[str, str]
    directory: str
    argv: list[str]


@dataclass(frozen=True)
class Root:
    """A file system for commands.

    Attributes:
        image: Its files.
        lent: Directories and files of the machine, read-only, by their path in the file system; mounted in
            this order.
        written: Programs and texts put into it, by path.
    """

    image: ImageFiles
    lent: Mapping[str, Path] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)

    def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        writable: Mapping[str, Path] | None = None,
        directory: str = "/",
        capture: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, as root, with the image's environment and no variable of the machine's.

        Args:
            argv: The command; its program is looked up on the image's PATH.
            environment: Variables beside the image's.
            writable: As `lent`, but what the command writes there stays.
            directory: The working directory.
            capture: Whether to return both streams, joined, instead of passing them through.
        """
        with tempfile.TemporaryDirectory(prefix="fluxbase-image-") as scratch:
            order = Order(
                scratch=scratch,
                layers=[str(layer) for layer in self.image.layers],
                lent={path: str(source) for path, source in self.lent.items()},
                writable={path: str(source) for path, source in (writable or {}).items()},
                written=dict(self.written),
                environment={**self.image.environment, **(environment or {})},
                directory=directory,
                argv=[*argv],
            )
            command = [sys.executable, "-m", "tests.interpreters.root", json.dumps(asdict(order))]
            return subprocess.run(
                contained([*command]),
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if capture else None,
                stderr=subprocess.STDOUT if capture else None,
                text=True,
                check=False,
            )


def carry_out(order: Order) -> int:
    """Mount everything, run the command, and return its exit code; in a mount namespace of its own."""
    top = _mount_image(Path(order.scratch), [Path(layer) for layer in order.layers])
    lent = {path: path for path in MACHINE_FILES if Path(path).exists()} | order.lent
    for path, source in lent.items():
        _bind(Path(source), top / path[1:])
        _mount("-o", "remount,ro,bind", str(top / path[1:]))
    for path, source in order.writable.items():
        _bind(Path(source), top / path[1:])
    for path, text in order.written.items():
        file = top / path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    chroot = shutil.which("chroot") or "/usr/sbin/chroot"
    argv = [chroot, str(top), "env", "-C", order.directory, *order.argv]
    return subprocess.run(argv, env=order.environment, check=False).returncode


def _mount_image(scratch: Path, layers: Sequence[Path]) -> Path:
    """The image's files with /tmp, /proc and /dev; returns where."""
    top = scratch / "root"
    for name in ("upper", "work", "tmp", "root"):
        (scratch / name).mkdir()
    scratch.chmod(0o755)
    (scratch / "tmp").chmod(0o1777)
    # By short names: the kernel takes no more than a page of options.
    for number, layer in enumerate(layers):
        (scratch / f"l{number}").symlink_to(layer)
    lower = ":".join(f"l{number}" for number in range(len(layers)))
    options = f"lowerdir={lower},upperdir=upper,workdir=work"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "image", "root"], cwd=scratch, check=True)
    _bind(scratch / "tmp", top / "tmp")
    _mount("-t", "proc", "proc", str(top / "proc"))
    _mount("--rbind", "/dev", str(top / "dev"))
    return top


def _bind(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount("--bind", str(source), str(target))


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


if __name__ == "__main__":
    sys.exit(carry_out(Order(**json.loads(sys.argv[1]))))
