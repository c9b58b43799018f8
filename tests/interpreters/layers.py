"""A container image's files, without a container engine: its layers in directories, for an overlay mount.

Layers are kept by their digest, so that a changed source costs the unpacking of our own small layer and not
of Debian below it.
"""

import json
import os
import stat
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dev.localcluster.cache import Cache

KEEP_LAYERS: Final = 12
# How layers say that a file of a lower layer is gone, and that nothing of a lower directory is left:
# https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts
WHITEOUT: Final = ".wh."
OPAQUE: Final = ".wh..wh..opq"


@dataclass(frozen=True)
class ImageFiles:
    """What an image consists of: its layers' directories, the topmost first, and its environment."""

    layers: tuple[Path, ...]
    environment: Mapping[str, str]


def unpack(archive: Path, cache: Cache) -> ImageFiles:
    """The files of an image in a ``docker-archive`` (what ``docker save`` writes)."""
    with tarfile.open(archive) as opened:
        (manifest,) = _json(opened, "manifest.json")
        config = _json(opened, manifest["Config"])
        digests = [digest.rpartition(":")[2] for digest in config["rootfs"]["diff_ids"]]
        layers = []
        for digest, member in zip(digests, manifest["Layers"], strict=True):

            def make(work: Path, _: Path, member: str = member) -> None:
                with tarfile.open(fileobj=_file(opened, member)) as layer:
                    unpack_layer(layer, work)

            layers.append(cache.build("layer", digest[:12], make))
    cache.forget_old("layer", KEEP_LAYERS)
    variables = (line.partition("=") for line in config["config"].get("Env") or [])
    return ImageFiles(tuple(reversed(layers)), {name: value for name, _, value in variables})


def unpack_layer(layer: tarfile.TarFile, directory: Path) -> None:
    """Write a layer's files, with what it removes in the form that an overlay mount understands."""
    # Newer Pythons ask how far an archive is trusted; older ones do not know the word. Devices are welcome.
    layer.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
    layer.extractall(directory, numeric_owner=True)  # noqa: S202  # an image that is about to be run
    for name in layer.getnames():
        path = directory / name
        if path.name == OPAQUE:
            path.unlink()
            os.setxattr(path.parent, "trusted.overlay.opaque", b"y")
        elif path.name.startswith(WHITEOUT):
            path.unlink()
            os.mknod(path.with_name(path.name.removeprefix(WHITEOUT)), stat.S_IFCHR, os.makedev(0, 0))


def _json(archive: tarfile.TarFile, name: str) -> Any:
    return json.load(_file(archive, name))


def _file(archive: tarfile.TarFile, name: str) -> Any:
    found = archive.extractfile(name)
    if found is None:
        raise tarfile.TarError(f"{name} is no file")
    return found
