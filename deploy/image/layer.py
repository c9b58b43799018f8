"""Makes a layer of the image: what an installation has added to this file system, without what nothing uses.

``layer.py list FILE`` notes what is there. After an installation, ``layer.py make FILE DIRECTORY MODULE…``
imports the modules, removes what no program loads, compiles the rest, and copies what is new into a directory
that has the layer's form. Standard library only; run by the Python of the image.
"""

import importlib
import py_compile
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from importlib.util import cache_from_source
from pathlib import Path

PACKAGES = Path(sysconfig.get_path("purelib"))
LIBRARY = Path(sysconfig.get_path("stdlib"))
ENVIRONMENT = Path(sys.prefix)

PROGRAMS = ("python", "fluxbase-migrate", "kubectl-fluxbase")
UNUSED_DIRECTORIES = frozenset(("test", "tests", "testing"))
"""Dependencies' tests, where a package has them among its modules."""
USED_TESTING = frozenset(("kopf/_kits", "kopf/testing"))
API_OBJECTS = ("api", "models")
"""The Kubernetes client's classes for every kind of object, loaded one by one by those who use them: 120 MB.
The operator takes the API server's JSON as it is."""


def main(words: list[str]) -> None:
    """See the module."""
    match words:
        case ["list", listing]:
            Path(listing).write_text("\n".join(map(str, files())))
        case ["make", listing, layer, *modules]:
            before = set(Path(listing).read_text().splitlines())
            for module in modules:
                importlib.import_module(module)
            loaded = frozenset(sys.modules)
            prune(loaded)
            compile_all()
            copy([path for path in files() if str(path) not in before], Path(layer))
        case _:
            sys.exit(__doc__)


def files() -> Iterator[Path]:
    """Everything that an installation may add."""
    for top in (ENVIRONMENT, LIBRARY):
        yield from (path for path in top.rglob("*") if path.is_symlink() or path.is_file())


def prune(loaded: frozenset[str]) -> None:
    """Remove programs, tests, and those of the Kubernetes client's classes that were not loaded."""
    for program in (ENVIRONMENT / "bin").iterdir():
        if not program.name.startswith(PROGRAMS):
            program.unlink()
    for directory in sorted(PACKAGES.rglob("*/")):
        name = str(directory.relative_to(PACKAGES))
        if directory.name in UNUSED_DIRECTORIES and not name.startswith(tuple(USED_TESTING)):
            shutil.rmtree(directory, ignore_errors=True)
    for client in ("kubernetes/client", "kubernetes/aio/client"):
        for kind in API_OBJECTS:
            for path in (PACKAGES / client / kind).glob("*.py"):
                module = ".".join(path.relative_to(PACKAGES).with_suffix("").parts).removesuffix(".__init__")
                if module not in loaded and path.name != "__init__.py":
                    path.unlink()


def compile_all() -> None:
    """Compile the packages, and what the programs load of the library where the image has it as source only.

    Without a time in it: a layer is the same whenever it is made, and nothing is looked up at the start.
    """
    library = [
        Path(file)
        for module in list(sys.modules.values())
        if (file := getattr(module, "__file__", None)) and Path(file).is_relative_to(LIBRARY)
    ]
    missing = [
        path for path in library if path.suffix == ".py" and not Path(cache_from_source(path)).exists()
    ]
    for path in [*missing, *PACKAGES.rglob("*.py")]:
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        try:
            py_compile.compile(str(path), doraise=True, invalidation_mode=mode)
        except py_compile.PyCompileError as error:
            print(f"left as source: {error.msg.splitlines()[-1]}: {path}")


def copy(paths: list[Path], layer: Path) -> None:
    """Copy files to the same places below another directory."""
    for path in paths:
        target = layer / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target, follow_symlinks=False)
    size = sum(path.lstat().st_size for path in paths)
    print(f"{layer}: {len(paths)} files, {size / 1e6:.1f} MB; Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main(sys.argv[1:])
