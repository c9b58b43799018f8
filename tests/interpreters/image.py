"""The tests with the interpreter and the packages of the image that the cluster runs.

What is tested is what is shipped: the image's files are the root, the code is the package that its own build
installed, and the checkout, without its source, lends the tests. The tests' own packages are installed for
the image's interpreter into a directory beside it.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dev import postgres_server
from dev.localcluster import prerequisites
from dev.localcluster.buildah import pip_configuration, trusted_authorities
from dev.localcluster.cache import Cache, content_key, lock
from dev.localcluster.cluster import external
from dev.localcluster.images import Images
from dev.localcluster.layout import REPOSITORY, layout
from dev.localcluster.report import ClusterError, Progress, tail
from tests.interpreters import engines, selection
from tests.interpreters.layers import ImageFiles, unpack
from tests.interpreters.lending import lend
from tests.interpreters.locks import only_in
from tests.interpreters.root import Root

SOURCE: Final = "/src"
"""Where the checkout is lent."""
PACKAGES: Final = "/opt/tests"
KEEP_PACKAGES: Final = 3
PASSED_ON: Final = (
    *selection.ENVIRONMENT,
    *("COLUMNS", "TERM", "PYTEST_ADDOPTS", "TEST_DATABASE_URL", "CRASH_SEED", "SPLIT_SEED"),
)

LOOK: Final = """
import filecmp, json, os, sys, sysconfig
import fluxbase_migrations
ours = os.path.dirname(fluxbase_migrations.__file__)
def files(top):
    return {os.path.relpath(os.path.join(at, name), top)
            for at, _, names in os.walk(top) if not at.endswith("__pycache__") for name in names}
theirs = sys.argv[1] + "/fluxbase_migrations"
both = files(ours) & files(theirs)
other = files(ours) ^ files(theirs) | set(filecmp.cmpfiles(ours, theirs, both, shallow=False)[1])
print(json.dumps({"version": sys.version, "packages": sysconfig.get_path("purelib"), "other": sorted(other)}))
"""
INSTALL: Final = (
    "python3 -m venv /tmp/pip && /tmp/pip/bin/pip install --quiet --disable-pip-version-check --no-cache-dir"
    f" --no-deps --require-hashes --only-binary :all: --target {PACKAGES} -r /run/requirements.txt"
)


@dataclass(frozen=True)
class Interpreter:
    """The image's Python: its full version, and where its packages are."""

    version: str
    packages: str


def run(arguments: Sequence[str], progress: Progress) -> int:
    """Run the tests that concern an interpreter; returns pytest's exit code.

    Args:
        arguments: Options, files and tests for pytest.
        progress: Where steps are reported.

    Raises:
        ClusterError: The image cannot be had or used here, or has other code than this checkout.
    """
    chosen = selection.choose(arguments)
    if chosen is None:
        progress.say("no test of the image's Python is among those asked for")
        return 0
    if os.geteuid() != 0:
        raise ClusterError(
            "The tests with the image's Python need root: they mount its files. Run as root, or leave them"
            " out with IMAGE_TESTS=no"
        )
    cache = Cache(layout().cache, progress)
    with lock(cache.root / "lock", "another build to end", progress):
        name, files = _image(cache)
        interpreter = look_at(name, files)
        packages = _test_packages(cache, files, interpreter)
        programs = lend("pgbouncer")
    environment = selection.ENVIRONMENT | {key: os.environ[key] for key in PASSED_ON if os.environ.get(key)}
    # Maven's, which bring their libraries along; without Maven in there, all are fetched before.
    versions = environment["PG_VERSIONS"].replace(",", " ").split()
    servers = [postgres_server.install(int(version)) for version in versions]
    root = Root(
        files,
        lent={
            SOURCE: REPOSITORY,
            # The checkout's own source is hidden: nothing but the installed package can be imported.
            f"{SOURCE}/operator": _empty(cache),
            PACKAGES: packages,
            **{str(server): server for server in servers},
            **programs.lent,
        },
        written={f"{interpreter.packages}/tests.pth": PACKAGES, **programs.written},
    )
    return selection.exit_code(_pytest(root, name, environment, chosen), arguments)


def look_at(name: str, files: ImageFiles) -> Interpreter:
    """What Python an image has.

    Raises:
        ClusterError: Its code is not this checkout's.
    """
    done = Root(files, lent={"/run/checkout": REPOSITORY / "operator"}).run(
        ["python3", "-c", LOOK, "/run/checkout"], capture=True
    )
    if done.returncode != 0:
        raise ClusterError(f"image {name} does not run fluxbase_migrations:\n{done.stdout}")
    seen = json.loads(done.stdout.splitlines()[-1])
    if other := seen["other"]:
        more = f" and {len(other) - 1} more" if other[1:] else ""
        raise ClusterError(
            f"image {name} has other code than this checkout ({other[0]}{more}); build it from this checkout,"
            " or check out the commit that it was built from"
        )
    return Interpreter(seen["version"], seen["packages"])


def _image(cache: Cache) -> tuple[str, ImageFiles]:
    """Name and files of the image that the cluster runs."""
    given = external()
    if given is None:
        prerequisites.install_packages(layout(), cache.progress)
        image = Images(cache).operator()
        return image.ref, unpack(image.archive, cache)
    return given.image, unpack(engines.save(given.image, cache), cache)


def _test_packages(cache: Cache, files: ImageFiles, interpreter: Interpreter) -> Path:
    """What the tests need beside the image's packages, from the lock file, for its interpreter."""
    wanted = only_in(REPOSITORY / "requirements-dev.lock", besides=REPOSITORY / "requirements.lock")
    base = files.layers[-1].name

    def make(work: Path, log: Path) -> None:
        configuration, links = pip_configuration()
        authorities = trusted_authorities()
        lent: Mapping[str, Path] = {link: Path(link) for link in links}
        if authorities.is_file():
            lent = {**lent, "/run/ca.crt": authorities}
        root = Root(files, lent, {"/run/requirements.txt": wanted, "/run/pip.conf": configuration})
        environment = {"PIP_CONFIG_FILE": "/run/pip.conf"}
        if authorities.is_file():
            environment["PIP_CERT"] = "/run/ca.crt"
        done = root.run(
            ["sh", "-c", INSTALL], environment=environment, writable={PACKAGES: work}, capture=True
        )
        log.write_text(done.stdout)
        if done.returncode != 0:
            raise ClusterError(f"installing the tests' packages failed\n{log}:\n{tail(log)}")

    packages = cache.build("test-packages", content_key(base, interpreter.version, wanted, INSTALL), make)
    cache.forget_old("test-packages", KEEP_PACKAGES)
    return packages


def _empty(cache: Cache) -> Path:
    return cache.build("nothing", content_key(""), lambda work, log: None)


def _pytest(root: Root, name: str, environment: Mapping[str, str], chosen: Sequence[str]) -> int:
    variables = {
        **environment,
        "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis",
        "TEST_INTERPRETER": f"the image {name}",
    }
    writable = {}
    if counts := os.environ.get("TEST_COUNTS"):
        variables["TEST_COUNTS"] = f"/run/counts/{Path(counts).name}"
        Path(counts).parent.mkdir(parents=True, exist_ok=True)
        writable["/run/counts"] = Path(counts).parent
    argv = ["python3", "-m", "pytest", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadgroup", *chosen]
    return root.run(argv, environment=variables, writable=writable, directory=SOURCE).returncode
