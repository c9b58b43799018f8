"""Flyway, the real one: its library as applications carry it, for the tests of a take-over.

Fetched once with Maven, checked, and kept. It runs on the Java that Maven brings; its command line would need
more than that. Nothing of it is shipped.
"""

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from dev.localcluster.cache import Cache, content_key, lock
from dev.localcluster.layout import layout
from dev.localcluster.report import Progress
from dev.peers import LIMIT, environment

HISTORY: Final = "public.flyway_schema_history"
"""Where it keeps its history unless it is told otherwise."""

_HERE: Final = Path(__file__).parent
_POM: Final = _HERE / "pom.xml"
_MAIN: Final = _HERE / "Migrate.java"
_SHA256: Final = dict(
    line.split()[::-1]
    for line in """
    77b263c78a71b6ca23c014048e975db4600d6c4a0d54790da18007a665af356d flyway-core-13.12.1.jar
    79128190d08d23008c9d42c71720b4be9eb40026f518e379a11ffde7f5a60538 flyway-database-postgresql-13.12.1.jar
    2a32a9dcbc42d67a50ad3a0de5efd102c8d2be46720045f2cbd6689f160ab7c7 postgresql-42.7.8.jar
    """.strip().splitlines()
)
"""Checksums of what pom.xml names, by file."""
_FETCH_SECONDS: Final = 600.0
_QUICK_START: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


class FlywayError(Exception):
    """It could not be fetched; says what to install, or what Maven said."""


@dataclass(frozen=True)
class Flyway:
    """Flyway with its defaults, on one database and directory of migrations."""

    dsn: str
    directory: Path

    def migrate(self) -> str:
        """Bring the database to the newest version; return what it logged.

        Raises:
            AssertionError: it failed.
            FlywayError: it could not be fetched.
        """
        jars = ":".join(str(jar) for jar in libraries())
        done = subprocess.run(
            [_program("java"), *_QUICK_START, "-cp", jars, str(_MAIN)],
            env=environment(self._settings()),
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def _settings(self) -> dict[str, str]:
        """Its own variables; JDBC has names of its own for a URL's parts."""
        parts = urlsplit(self.dsn)
        query = dict(parse_qsl(parts.query))
        given = {"sslmode": query["sslmode"]} if "sslmode" in query else {}
        return {
            "FLYWAY_URL": f"jdbc:postgresql://{parts.hostname}:{parts.port}{parts.path}?{urlencode(given)}",
            "FLYWAY_USER": unquote(parts.username or ""),
            "FLYWAY_PASSWORD": unquote(parts.password or ""),
            "FLYWAY_LOCATIONS": f"filesystem:{self.directory}",
        }


def libraries() -> list[Path]:
    """The jars, fetched if they are not in the cache yet.

    Raises:
        FlywayError: they cannot be had.
    """
    cache = Cache(layout().cache, Progress())
    key = content_key(_POM, *_SHA256.values())
    if not cache.path("flyway", key).exists():
        with lock(cache.root / "flyway.lock", "another fetch of Flyway to end", cache.progress):
            cache.build("flyway", key, _fetch)
    return [cache.path("flyway", key) / name for name in _SHA256]


def _fetch(target: Path, log: Path) -> None:
    """Copy the jars into ``target``."""
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={target}"]
    argv = [_program("mvn"), "--batch-mode", "--quiet", "--file", str(_POM), *goal]
    with log.open("ab") as output:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, timeout=_FETCH_SECONDS
        )
    if done.returncode != 0:
        raise FlywayError(f"fetching Flyway failed\n{log.read_text()[-2000:]}")
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in target.iterdir()}
    if found != _SHA256:
        raise FlywayError(f"what Maven fetched is not what was expected: {found}")


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise FlywayError(f"Flyway needs {name}: apt-get install maven")
    return found
