"""The build cache: each result in a directory under a key of all inputs of its build.

A directory appears under its key by one rename, when it is complete: an interrupted build leaves nothing that
a later one could mistake for a complete result.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from dev.localcluster.report import Progress, wait_until

LOCK_TIMEOUT_SECONDS = 2400.0


def content_key(*inputs: str | bytes | Path) -> str:
    """Twelve hexadecimal digits that change with any of the inputs.

    A path stands for its content; a directory for its files' names, executable bits and contents.
    """
    digest = hashlib.sha256()
    for item in inputs:
        if isinstance(item, Path):
            for file in [item] if item.is_file() else sorted(p for p in item.rglob("*") if p.is_file()):
                name = file.name if file == item else str(file.relative_to(item))
                executable = os.access(file, os.X_OK)
                _feed(digest.update, [name.encode(), b"x" if executable else b"-", file.read_bytes()])
        else:
            _feed(digest.update, [item.encode() if isinstance(item, str) else item])
    return digest.hexdigest()[:12]


def _feed(update: Callable[[bytes], None], chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        update(str(len(chunk)).encode() + b":")
        update(chunk)


class Cache:
    """The cache directory."""

    def __init__(self, root: Path, progress: Progress) -> None:
        self.root = root
        self.progress = progress

    def path(self, name: str, key: str) -> Path:
        """The directory of the result called `name` of the inputs behind `key`, built or not."""
        return self.root / "built" / f"{name}-{key}"

    def build(self, name: str, key: str, make: Callable[[Path, Path], None]) -> Path:
        """The directory of a build's result; builds it if it does not exist.

        Args:
            name: What is built; also the name of its log.
            key: The content key of its inputs.
            make: Called with an empty directory to fill and a log file to write to.

        Raises:
            ClusterError: The build failed.
        """
        final = self.path(name, key)
        if final.exists():
            final.touch()
            return final
        log = self.root / "logs" / f"{name}.log"
        for directory in (final.parent, log.parent, self.root / "tmp"):
            directory.mkdir(parents=True, exist_ok=True)
        with self.progress.step(f"build {name}"):
            log.write_bytes(b"")
            work = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.root / "tmp"))
            try:
                make(work, log)
                work.chmod(0o755)
                work.rename(final)
            finally:
                shutil.rmtree(work, ignore_errors=True)
        return final

    def forget_old(self, name: str, keep: int) -> list[Path]:
        """Remove all but the `keep` most recently used builds of a name; returns those removed."""
        builds = sorted(self.root.glob(f"built/{name}-????????????"), key=lambda path: path.stat().st_mtime)
        old = builds[:-keep] if keep else builds
        for path in old:
            shutil.rmtree(path, ignore_errors=True)
        return old

    def sweep(self) -> None:
        """Remove what interrupted builds left behind; call with the lock held."""
        shutil.rmtree(self.root / "tmp", ignore_errors=True)


@contextlib.contextmanager
def lock(path: Path, what: str, progress: Progress) -> Iterator[None]:
    """Hold a file lock, which the kernel releases when the process ends.

    Raises:
        ClusterError: Another process held it for too long; says which.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:

        def taken() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        def holder() -> str:
            return f"process {path.read_text().strip() or '?'} holds {path}"

        if not taken():
            progress.say(f"waiting for another run to end: {holder()}")
            wait_until(what, taken, timeout=LOCK_TIMEOUT_SECONDS, why_not=holder, interval=0.5)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def contained(argv: list[str | Path]) -> list[str | Path]:
    """A command in mount and process namespaces of its own, which end with the calling process.

    It leaves neither mounts nor processes behind, even if the calling process is killed.
    """
    return [
        *("setpriv", "--pdeathsig", "KILL", "--"),
        *(
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ),
        *argv,
    ]
