"""The images of the cluster: pause, the base of the others, PostgreSQL, and the operator's own.

Each is built when one of its inputs changed, and its tag is the key of those inputs, so that a tag never
means two different things and a rebuilt image is never mistaken for an old one.
"""

import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dev.localcluster import golang, parts
from dev.localcluster.buildah import Buildah
from dev.localcluster.cache import Cache, contained, content_key
from dev.localcluster.layout import OWN_FILES, REPOSITORY
from dev.localcluster.report import ClusterError, run

PREFIX = "fluxbase.local"
OPERATOR = "fluxbase-migrations"
RUNNER = f"{OPERATOR}-runner"
KEEP_OPERATOR_IMAGES = 5
# Increment to rebuild the base and all images on it.
BASE_REVISION = "1"


@dataclass(frozen=True)
class Image:
    """An image: its full name, and the archive that containerd imports."""

    ref: str
    archive: Path


class Images:
    """Builds the images and returns their names."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._buildah = Buildah(cache)

    def pause(self) -> Image:
        """The image of the process that holds a pod's namespaces."""

        def fill(context: Path) -> None:
            shutil.copy(golang.kube(self._cache) / "pause", context / "pause")
            (context / "Dockerfile").write_text('FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n')

        return self._image("pause", golang.kube_key(), fill)

    def base(self) -> Image:
        """Debian with Python: what BASE_IMAGE is in the Dockerfile."""
        key = content_key(parts.DEBIAN_SUITE, *parts.BASE_PACKAGES, BASE_REVISION)
        ref = f"{PREFIX}/base:{key}"

        def make(work: Path, log: Path) -> None:
            root = work / "root"
            include = f"--include={','.join(parts.BASE_PACKAGES)}"
            argv: list[str | Path] = ["debootstrap", "--variant=minbase", include, parts.DEBIAN_SUITE, root]
            run(contained([*argv, *_debian_mirror()]), log=log, timeout=1200)
            for unused in (
                "var/cache/apt",
                "var/lib/apt/lists",
                "usr/share/doc",
                "usr/share/man",
                "usr/share/locale",
            ):
                shutil.rmtree(root / unused, ignore_errors=True)
            self._buildah.image_of_directory(root, ref, log)
            self._buildah.archive(ref, work / "image.tar", log)

        archive = self._cache.build("image-base", key, make) / "image.tar"
        return Image(ref, archive)

    def postgres(self) -> Image:
        """PostgreSQL's image."""
        base = self.base()
        source = OWN_FILES / "postgres"
        args = {"BASE_IMAGE": base.ref, "POSTGRES_MAJOR": parts.POSTGRES_MAJOR}

        def fill(context: Path) -> None:
            shutil.copytree(source, context, dirs_exist_ok=True)

        return self._image("postgres", content_key(source, base.ref), fill, base=base, args=args)

    def operator(self) -> Image:
        """The operator's image, from the Dockerfile at the top of the repository.

        Raises:
            ClusterError: The Dockerfile is missing, names files that are missing, or does not build.
        """
        return self._of_the_dockerfile(OPERATOR, "operator")

    def runner(self) -> Image:
        """The image of its Jobs, from the same Dockerfile and under the same key.

        Raises:
            ClusterError: As for the operator's.
        """
        return self._of_the_dockerfile(RUNNER, "runner")

    def _of_the_dockerfile(self, name: str, target: str) -> Image:
        base = self.base()
        files = dockerfile_inputs(REPOSITORY)

        def fill(context: Path) -> None:
            for file in files:
                copied = context / file.relative_to(REPOSITORY)
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, copied)

        inputs = [item for file in files for item in (str(file.relative_to(REPOSITORY)), file)]
        key = content_key(base.ref, *inputs)
        image = self._image(name, key, fill, base=base, args={"BASE_IMAGE": base.ref}, target=target)
        for old in self._cache.forget_old(f"image-{name}", KEEP_OPERATOR_IMAGES):
            self._buildah.remove(f"{PREFIX}/{name}:{old.name.rpartition('-')[2]}")
        return image

    def _image(
        self,
        name: str,
        key: str,
        fill: Callable[[Path], None],
        *,
        base: Image | None = None,
        args: dict[str, str] | None = None,
        target: str | None = None,
    ) -> Image:
        """Build an image from a context that `fill` puts together."""
        ref = f"{PREFIX}/{name}:{key}"

        def make(work: Path, log: Path) -> None:
            context = work / "context"
            context.mkdir()
            fill(context)
            if base:
                self._buildah.load(base.archive, base.ref, log)
            self._buildah.build(context, ref, log, target=target, build_args=args, network=base is not None)
            shutil.rmtree(context)
            self._buildah.archive(ref, work / "image.tar", log)

        return Image(ref, self._cache.build(f"image-{name}", key, make) / "image.tar")


def _debian_mirror() -> list[str]:
    """The mirror that this machine's apt uses for the suite; nothing, for debootstrap's own default."""
    form = "$(RELEASE) $(COMPONENT) $(REPO_URI)"
    try:
        targets = run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"])
    except ClusterError:
        return []
    prefix = f"{parts.DEBIAN_SUITE} main "
    return [line.removeprefix(prefix) for line in targets.splitlines() if line.startswith(prefix)][:1]


def dockerfile_inputs(context: Path) -> list[Path]:
    """The Dockerfile and every file that its COPY and ADD lines take from the context, sorted.

    Nothing else is given to the build, so nothing else can change the image.
    """
    dockerfile = context / "Dockerfile"
    if not dockerfile.is_file():
        raise ClusterError(f"there is no {dockerfile} to build the operator's image from")
    files = {dockerfile}
    if (ignore := context / ".dockerignore").is_file():
        files.add(ignore)
    for line in dockerfile.read_text().replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True) if line.upper().startswith(("COPY ", "ADD ")) else []
        if any(word.startswith("--from=") for word in words):
            continue
        for source in [word for word in words[1:-1] if not word.startswith("--")]:
            matches = sorted(context.glob(source.rstrip("/"))) if source != "." else [context]
            if not matches:
                raise ClusterError(f"{dockerfile} copies {source}, which does not exist")
            for match in matches:
                files |= {match} if match.is_file() else set(_files_below(match))
    return sorted(files)


def _files_below(directory: Path) -> list[Path]:
    def hidden(path: Path) -> bool:
        names = path.relative_to(directory).parts
        return any(name == "__pycache__" or name.startswith(".") for name in names)

    return [path for path in directory.rglob("*") if path.is_file() and not hidden(path)]
