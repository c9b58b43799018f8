"""Throwaway PostgreSQL servers, one process each, for the tests and the benchmarks.

    with start_server(18) as server:
        psycopg.connect(server.dsn())                 # the superuser, over 127.0.0.1
        server.kill()                                 # as a power cut would
        server.start()                                # the same data, after crash recovery

A server has its data, its socket and its log in a temporary directory of its own, listens on 127.0.0.1 at
a free port, asks for a password there (SCRAM) and for none on its socket. fsync is off unless asked for: it
only matters when the machine itself goes down; what a killed server has written is in the kernel's hands.

Version 15 comes from Debian (``apt-get install postgresql-15``), as does any other version that is installed
there. The rest are fetched once with Maven and kept::

    python3 -m dev.postgres_server install 14 16 17 18

A server that is not available is an error, never a reason to skip a test.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import fcntl
import os
import platform
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote, urlencode

StopMode = Literal["smart", "fast", "immediate"]

# The releases that the version matrix is run on, by major version.
MAVEN_RELEASES = {14: "14.18.0", 15: "15.13.0", 16: "16.9.0", 17: "17.5.0", 18: "18.1.0"}
MAVEN_ARTIFACT = "io.zonky.test.postgres:embedded-postgres-binaries-linux-{machine}"
MAVEN_MACHINES = {"x86_64": "amd64", "aarch64": "arm64v8"}

DEBIAN_BINDIR = "/usr/lib/postgresql/{version}/bin"

START_TIMEOUT = 60.0  # seconds; crash recovery on a busy machine included
STOP_TIMEOUT = 60.0
INSTALL_TIMEOUT = 600.0
POLL = 0.02
PORT_ATTEMPTS = 5
SOCKET_PATH_LIMIT = 80  # the kernel allows 107 bytes, of which "/.s.PGSQL.NNNNN" takes some

STOP_SIGNALS: Mapping[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}


# Outlives us: its standard input closes when our process ends, even if it is killed, and then it cleans up.
WATCHDOG = """
read -r _
kill -QUIT "$1" 2>/dev/null
for _ in $(seq 100); do kill -0 "$1" 2>/dev/null || break; sleep 0.1; done
rm -rf "$2"
"""


class PostgresServerError(Exception):
    """A server could not be installed, started or stopped. The message ends with the log's last lines."""


# --- Where a server can be reached -----------------------------------------------------------------------


@dataclass(frozen=True)
class Endpoint:
    """A running server and the credentials of an administrator of it.

    It describes a server that this module started as well as one named by TEST_DATABASE_URL.
    """

    version: int  # major
    host: str
    port: int
    user: str
    password: str
    parameters: Mapping[str, str]

    def dsn(
        self,
        database: str = "postgres",
        user: str | None = None,
        password: str | None = None,
        **parameters: str,
    ) -> str:
        """A URL for libpq and for golang-migrate; by default the administrator's."""
        login = quote(user or self.user, safe="")
        secret = quote(self.password if password is None else password, safe="")
        query = urlencode({**self.parameters, **parameters}, quote_via=quote)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"postgresql://{login}:{secret}@{host}:{self.port}/{quote(database, safe='')}?{query}"


# --- A server --------------------------------------------------------------------------------------------


class Server:
    """One server process and its directory. Made by `start_server`."""

    def __init__(self, version: int, bindir: Path, directory: Path, settings: Mapping[str, str]) -> None:
        self.version = version
        self.bindir = bindir
        self.directory = directory
        self.data = directory / "data"
        self.log = directory / "log"
        self.password = secrets.token_hex(8)
        self.port = _free_port()
        self._settings = dict(settings)
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(
            self.version, "127.0.0.1", self.port, "postgres", self.password, {"sslmode": "disable"}
        )

    def dsn(
        self,
        database: str = "postgres",
        user: str = "postgres",
        password: str | None = None,
        **parameters: str,
    ) -> str:
        """A URL over 127.0.0.1; by default the superuser's.

        A login that a test creates needs a password to come in this way; giving it `server.password` saves
        passing one here.
        """
        return self.endpoint.dsn(database, user, password, **parameters)

    @property
    def socket_directory(self) -> Path:
        """The unix socket's directory (libpq's ``host``); no password is asked there."""
        return self.directory

    @property
    def pid(self) -> int:
        """The postmaster's process id.

        Raises PostgresServerError if the server is not running.
        """
        if self._process is None:
            raise PostgresServerError(f"PostgreSQL {self.version} is not running")
        return self._process.pid

    def start(self) -> None:
        """Start on the data directory as it is and wait until connections are accepted.

        The port stays the same across `kill` and `start`, unless another process has taken it in between.
        """
        if self._process is not None:
            raise PostgresServerError(f"PostgreSQL {self.version} is running already")
        for _ in range(PORT_ATTEMPTS):
            log_start = self.log.stat().st_size if self.log.exists() else 0
            if self._start_once():
                return
            if b"Address already in use" not in self.log.read_bytes()[log_start:]:
                break
            self.port = _free_port()
        raise PostgresServerError(f"PostgreSQL {self.version} did not start\n{self.log_tail()}")

    def stop(self, mode: StopMode = "fast", *, keep: bool = False) -> None:
        """Stop the server and, unless `keep`, remove its directory. Nothing happens if it is stopped already.

        `immediate` is PostgreSQL's own crash: no checkpoint, recovery at the next start.
        """
        try:
            if self._process is not None:
                self._process.send_signal(STOP_SIGNALS[mode])
                try:
                    self._process.wait(STOP_TIMEOUT)
                except subprocess.TimeoutExpired:
                    tail = self.log_tail()
                    self.kill()
                    raise PostgresServerError(
                        f"PostgreSQL {self.version} did not stop ({mode}) in {STOP_TIMEOUT:g} s\n{tail}"
                    ) from None
                self._ended()
        finally:
            if not keep:
                shutil.rmtree(self.directory, ignore_errors=True)
                _running.discard(self)

    def kill(self) -> None:
        """SIGKILL every process of the server at one moment, as a power cut would; the data stays."""
        if self._process is None:
            return
        postmaster = self._process.pid
        # A stopped postmaster cannot notice its first dead child and tell the others to end in order.
        os.kill(postmaster, signal.SIGSTOP)
        children = _children(postmaster)
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os.kill(postmaster, signal.SIGKILL)
        self._process.wait(STOP_TIMEOUT)
        self._ended()
        # The next start refuses while a former child is still attached to the shared memory.
        _wait_until(
            lambda: not any(_alive(pid) for pid in children),
            STOP_TIMEOUT,
            "the killed server's children to end",
        )

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of the server's log."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _start_once(self) -> bool:
        pid_file = self.data / "postmaster.pid"
        command = [str(self.bindir / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        with self.log.open("ab") as log:
            # No signals from the terminal: a test decides when its server stops.
            process: subprocess.Popen[bytes] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **_as_owner(),
            )
        deadline = time.monotonic() + START_TIMEOUT
        while process.poll() is None:
            if _ready(pid_file, process.pid):
                self._process = process
                self._watch(process.pid)
                return True
            if time.monotonic() > deadline:
                process.kill()
                process.wait(STOP_TIMEOUT)
                break
            time.sleep(POLL)
        return False

    def _watch(self, pid: int) -> None:
        """Start the watchdog, so that the server does not outlive a test run that was killed."""
        command = ["/bin/sh", "-c", WATCHDOG, "watchdog", str(pid), str(self.directory)]
        self._watchdog = subprocess.Popen(
            command,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _ended(self) -> None:
        """Forget the server's process and end its watchdog: its process id may be used again soon."""
        self._process = None
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.communicate(timeout=STOP_TIMEOUT)
            self._watchdog = None

    def _initialise(self) -> None:
        """Make the data directory."""
        password_file = self.directory / "password"
        password_file.write_text(self.password)
        command = [str(self.bindir / "initdb"), "-D", str(self.data)]
        command += ["--username=postgres", f"--pwfile={password_file}"]
        command += ["--auth-local=trust", "--auth-host=scram-sha-256"]
        command += ["--encoding=UTF8", "--no-locale", "--no-sync"]
        _give(self.directory)
        completed = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT,
            **_as_owner(),
        )
        if completed.returncode != 0:
            raise PostgresServerError(
                f"initdb of PostgreSQL {self.version} failed\n{completed.stdout}{completed.stderr}"
            )
        password_file.unlink()
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.directory),
            "shared_buffers": "32MB",
            "log_line_prefix": "%m [%p] %q%u@%d ",
            "timezone": "UTC",
            **self._settings,
        }
        with (self.data / "postgresql.conf").open("a") as configuration:
            for name, value in settings.items():
                configuration.write("{} = '{}'\n".format(name, value.replace("'", "''")))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop("immediate")


def start_server(
    version: int,
    directory: Path | None = None,
    *,
    fsync: bool = False,
    settings: Mapping[str, str] | None = None,
) -> Server:
    """A new server of that major version, accepting connections; stop it with `stop` or as a context manager.

    `directory` is where its own directory is made. The system's temporary directory serves instead when the
    server's user cannot get there (pytest's ``tmp_path`` is closed to others, and PostgreSQL refuses to run
    as root) or when the path is too long for a unix socket. `settings` go into postgresql.conf.

    Raises PostgresServerError.
    """
    durability = {"fsync": "on"} if fsync else {"fsync": "off", "full_page_writes": "off"}
    own = _own_directory(version, directory)
    server = Server(version, find_bindir(version), own, {**durability, **(settings or {})})
    _running.add(server)
    try:
        server._initialise()
        server.start()
    except BaseException:
        server.stop("immediate")
        raise
    return server


# Servers that run, ended with the interpreter: a failed test leaves no process behind.
_running: set[Server] = set()


@atexit.register
def _stop_all() -> None:
    for server in list(_running):
        with contextlib.suppress(PostgresServerError):
            server.stop("immediate")


# --- Installing ------------------------------------------------------------------------------------------


def find_bindir(version: int) -> Path:
    """The directory of `postgres` and `initdb` of that major version; fetched if Debian's is not there.

    Raises PostgresServerError, saying what to install.
    """
    debian = Path(DEBIAN_BINDIR.format(version=version))
    if (debian / "postgres").exists() and (debian / "initdb").exists():
        return debian
    return install(version) / "bin"


def install(version: int) -> Path:
    """Fetch that major version's binaries with Maven, once; returns the installation's directory."""
    if version not in MAVEN_RELEASES:
        known = ", ".join(map(str, MAVEN_RELEASES))
        raise PostgresServerError(f"no PostgreSQL {version} to be had; the version matrix knows {known}")
    release = MAVEN_RELEASES[version]
    home = _cache_directory() / release
    if home.exists():
        return home
    home.parent.mkdir(parents=True, exist_ok=True)
    with _locked(home.parent / f"{release}.lock"):
        if not home.exists():
            _fetch(release, home)
    return home


def _fetch(release: str, home: Path) -> None:
    """Fill `home`; it appears whole or not at all."""
    maven = shutil.which("mvn")
    if maven is None:
        raise PostgresServerError(f"PostgreSQL {release} is fetched with Maven: apt-get install maven")
    machine = MAVEN_MACHINES.get(platform.machine())
    if machine is None:
        raise PostgresServerError(f"no PostgreSQL {release} to be had for {platform.machine()}")
    artifact = f"{MAVEN_ARTIFACT.format(machine=machine)}:{release}"
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=f"{release}-") as name:
        scratch = Path(name)
        command = [
            maven,
            "-B",
            "-q",
            "dependency:copy",
            f"-Dartifact={artifact}",
            f"-DoutputDirectory={scratch}",
        ]
        try:
            completed = subprocess.run(
                command,
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=INSTALL_TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            raise PostgresServerError(f"fetching {artifact} took more than {INSTALL_TIMEOUT:g} s") from None
        jars = list(scratch.glob("*.jar"))
        if completed.returncode != 0 or not jars:
            raise PostgresServerError(
                f"fetching {artifact} failed\n{(completed.stdout + completed.stderr)[-2000:]}"
            )
        unpacked = scratch / "unpacked"
        unpacked.mkdir()
        _unpack(jars[0], unpacked)
        _make_readable(unpacked)
        unpacked.rename(home)


def _unpack(jar: Path, target: Path) -> None:
    """The jar holds one .txz with the installation's tree."""
    with zipfile.ZipFile(jar) as outer:
        inner = next(name for name in outer.namelist() if name.endswith(".txz"))
        with outer.open(inner) as compressed, tarfile.open(fileobj=compressed, mode="r:xz") as archive:
            # Newer Pythons warn where no filter is set; older ones do not have the attribute.
            archive.extraction_filter = getattr(tarfile, "tar_filter", None)
            archive.extractall(target)  # noqa: S202  # the registry's own archive


def _make_readable(tree: Path) -> None:
    """The server runs as another user than the one who unpacked it."""
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def _cache_directory() -> Path:
    if os.geteuid() == 0:
        # Root's own cache is usually closed to the user that the server runs as.
        return Path("/var/cache/fluxbase-migrations/postgres")
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "fluxbase-migrations" / "postgres"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file lock; waits for another process at most as long as an installation may take."""
    with path.open("w") as handle:

        def taken() -> bool:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        _wait_until(taken, INSTALL_TIMEOUT + 60, f"another process to release {path}")
        yield


# --- Processes and users ---------------------------------------------------------------------------------


def _owner() -> pwd.struct_passwd | None:
    """The user that the server runs as; None: the current user. PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresServerError("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


def _as_owner() -> dict[str, Any]:
    """Arguments for subprocess."""
    owner = _owner()
    if owner is None:
        return {"cwd": "/"}
    return {"cwd": "/", "user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def _give(directory: Path) -> None:
    """Make the server's user the owner of a directory and of what is directly in it."""
    owner = _owner()
    if owner is not None:
        for path in [directory, *directory.iterdir()]:
            os.chown(path, owner.pw_uid, owner.pw_gid)


def _own_directory(version: int, directory: Path | None) -> Path:
    parent = directory if directory is not None and _usable(directory.resolve()) else None
    return Path(tempfile.mkdtemp(prefix=f"postgres-{version}-", dir=parent))


def _usable(directory: Path) -> bool:
    if len(str(directory)) > SOCKET_PATH_LIMIT - len("/postgres-NN-xxxxxxxx"):
        return False
    if _owner() is None:
        return True
    return all(parent.stat().st_mode & 0o001 for parent in [directory, *directory.parents])


def _ready(pid_file: Path, pid: int) -> bool:
    """Whether the postmaster says in its pid file that it accepts connections (its eighth line).

    A standby that can be read says `standby`.
    """
    try:
        lines = pid_file.read_text().splitlines()
    except (FileNotFoundError, PermissionError):
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() in ("ready", "standby")


def _children(parent: int) -> list[int]:
    children = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                # "pid (name) state ppid …", where the name may hold spaces and parentheses.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    children.append(int(entry.name))
    return children


def _alive(pid: int) -> bool:
    """Whether the process still runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until(condition: Callable[[], bool], timeout: float, what: str) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise PostgresServerError(f"waited {timeout:g} s for {what}")
        time.sleep(POLL)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python3 -m dev.postgres_server", description=__doc__.split("\n")[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    installing = commands.add_parser("install", help="fetch the servers that Debian does not have")
    installing.add_argument(
        "versions", nargs="+", type=int, metavar="VERSION", choices=sorted(MAVEN_RELEASES)
    )
    for version in parser.parse_args(arguments).versions:
        started = time.monotonic()
        try:
            bindir = find_bindir(version)
        except PostgresServerError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        print(f"PostgreSQL {version}: {bindir} ({time.monotonic() - started:.1f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
