"""An image of which only the name is given, from whichever container engine is at hand."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dev.localcluster.cache import Cache, content_key
from dev.localcluster.report import ClusterError, run

SAVE_TIMEOUT_SECONDS: Final = 900
KEEP_SAVED: Final = 2


@dataclass(frozen=True)
class Engine:
    """The commands of one engine: to find an image's id, to fetch it, and to write its archive."""

    name: str
    identify: tuple[str, ...]
    pull: tuple[str, ...]
    save: tuple[str, ...]

    def words(self, command: tuple[str, ...], ref: str, file: Path | None = None) -> list[str]:
        return [self.name, *(word.format(ref=ref, file=file) for word in command)]


_IDENTIFY: Final = ("image", "inspect", "--format", "{{{{.Id}}}}", "{ref}")
ENGINES: Final = (
    Engine("docker", _IDENTIFY, ("pull", "{ref}"), ("save", "--output", "{file}", "{ref}")),
    Engine(
        "podman",
        _IDENTIFY,
        ("pull", "{ref}"),
        ("save", "--format", "docker-archive", "--output", "{file}", "{ref}"),
    ),
    Engine(
        "buildah",
        ("inspect", "--type", "image", "--format", "{{{{.FromImageID}}}}", "{ref}"),
        ("pull", "{ref}"),
        ("push", "{ref}", "docker-archive:{file}:{ref}"),
    ),
)


def save(ref: str, cache: Cache) -> Path:
    """An archive of an image, pulled if the engine does not have it; kept under the image's id.

    Raises:
        ClusterError: No engine is on PATH, or none of them has the image.
    """
    failures = []
    for engine in ENGINES:
        if shutil.which(engine.name) is None:
            failures.append(f"{engine.name} is not on PATH")
            continue
        try:
            return _save(engine, ref, cache)
        except ClusterError as error:
            failures.append(f"{engine.name}: {str(error).strip().splitlines()[-1]}")
    raise ClusterError(
        f"no container engine gives the files of IMAGE {ref}, with whose Python the tests are run too:\n  "
        + "\n  ".join(failures)
        + "\nMake one of them able to pull it, or leave these tests out with IMAGE_TESTS=no"
    )


def _save(engine: Engine, ref: str, cache: Cache) -> Path:
    identify = engine.words(engine.identify, ref)
    try:
        identity = run(identify).strip()
    except ClusterError:
        run(engine.words(engine.pull, ref), timeout=SAVE_TIMEOUT_SECONDS)
        identity = run(identify).strip()

    def make(work: Path, log: Path) -> None:
        run(engine.words(engine.save, ref, work / "image.tar"), log=log, timeout=SAVE_TIMEOUT_SECONDS)

    archive = cache.build("image-given", content_key(identity), make) / "image.tar"
    cache.forget_old("image-given", KEEP_SAVED)
    return archive
