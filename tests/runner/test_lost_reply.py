"""The answer to a COMMIT is lost: the history tells what became of it, and the exit code says that."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dev.peers import Finished, Ours, write_files
from dev.postgres_server import Server, start_server
from tests.conftest import VERSIONS
from tests.runner.track import Runner
from tests.support.databases import Database, create_database, create_login

SERVER_VERSIONS = [int(version) for version in VERSIONS if version.isdecimal()] or [15]
"""The server that TEST_DATABASE_URL names is not ours to kill."""
FIRST = {"1_a.up.sql": "CREATE TABLE a (t text)"}
BODIES = {
    "atomic": "INSERT INTO a VALUES ('x')",
    "groups": "INSERT INTO a VALUES ('x'); COMMIT; INSERT INTO a VALUES ('y')",
    "outside": "INSERT INTO a VALUES ('x'); VACUUM a; INSERT INTO a VALUES ('y')",
}
COMMITS = {"atomic": 1, "groups": 4, "outside": 6}
"""How many messages with a COMMIT a run of the second file sends: marks, positions, groups, the end."""


@dataclass
class Proxy:
    """Between client and server; it swallows the answer to the ``at``-th message that commits."""

    server: Server
    at: int
    strike: Callable[[], object]
    """What happens at that moment, when the server has answered."""
    commits: int = 0
    struck: bool = False
    again: int = 0
    """How many of the connections after that are cut, too, as soon as they ask for the lock."""
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connection, args=(client,), daemon=True).start()

    def _connection(self, client: socket.socket) -> None:
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", self.server.port))
            except OSError:
                return
            with server:
                back = threading.Thread(target=self._back, args=(server, client), daemon=True)
                back.start()
                self._forth(client, server)
                back.join()

    def _forth(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while data := client.recv(1 << 20):
                self.commits += b"COMMIT" in data
                if self.struck and self.again and b"pg_try_advisory_lock" in data:
                    self.again -= 1
                    break
                server.sendall(data)
        except OSError:
            pass
        finally:
            _shut(server)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        try:
            while data := server.recv(1 << 20):
                if not self.struck and self.commits == self.at and b"COMMIT\0" in data:
                    self.struck = True
                    self.strike()
                    break
                client.sendall(data)
        except OSError:
            pass
        finally:
            _shut(client)


def _shut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


@pytest.fixture(scope="module", params=SERVER_VERSIONS, ids=lambda version: f"pg{version}")
def own(request: pytest.FixtureRequest) -> Iterator[Server]:
    with start_server(request.param) as server:
        create_login(server.endpoint, "lost", server.password)
        yield server


@contextmanager
def lost_reply(server: Server, at: int, strike: Callable[[], object]) -> Iterator[Proxy]:
    proxy = Proxy(server, at, strike)
    with proxy.listener:
        threading.Thread(target=proxy.serve, daemon=True).start()
        yield proxy


class Case:
    """A database with the first file applied, and the second to come."""

    def __init__(self, server: Server, name: str, directory: Path, body: str) -> None:
        create_database(server.endpoint, name, "lost")
        self.server, self.name = server, name
        self.source = write_files(directory, FIRST)
        assert self.up(server.port).code == 0
        write_files(directory, {"2_b.up.sql": body})

    def up(self, port: int) -> Finished:
        dsn = self.server.dsn(self.name, "lost").replace(f":{self.server.port}/", f":{port}/")
        return Ours(dsn, self.source).run("up")

    @property
    def runner(self) -> Runner:
        return Runner(Database(self.server.endpoint, self.name, "lost", self.server.password))


@pytest.mark.parametrize("crash", [False, True], ids=["connection", "server"])
@pytest.mark.parametrize(
    ("way", "at"), [(way, at) for way, count in COMMITS.items() for at in range(1, count + 1)]
)
def test_the_exit_code_is_true_whichever_answer_is_lost(
    own: Server, tmp_path: Path, way: str, at: int, crash: bool
) -> None:
    case = Case(own, f"{way}_{at}_{crash}".lower(), tmp_path / "source", BODIES[way])

    def die() -> None:
        if crash:
            own.kill()
            own.start()

    with lost_reply(own, at, die) as proxy:
        done = case.up(proxy.port)
    assert proxy.struck, f"only {proxy.commits} messages with a COMMIT: {done.command}"
    ended = case.runner.row == [(2, False)]
    assert (done.code == 0) == ended, done.command
    assert ended == (at == COMMITS[way]), done.command
    assert "connection lost" in done.output
    again = case.up(own.port)
    assert again.code == 0, f"{done.command}\n{again.command}"
    assert case.runner.row == [(2, False)]
    expected = [("x",)] if way == "atomic" else [("x",), ("y",)]
    assert case.runner.query("SELECT t FROM a ORDER BY t") == expected


def test_a_server_that_ends_the_next_connections_too_is_asked_again(own: Server, tmp_path: Path) -> None:
    case = Case(own, "again", tmp_path / "source", BODIES["atomic"])
    with lost_reply(own, 1, lambda: None) as proxy:
        proxy.again = 2
        done = case.up(proxy.port)
    assert proxy.again == 0
    assert done.code == 0, done.command
    assert case.runner.row == [(2, False)]


def test_what_another_run_applied_before_the_reconnect_is_not_applied_again(
    own: Server, tmp_path: Path
) -> None:
    case = Case(own, "overtaken", tmp_path / "source", BODIES["atomic"])
    write_files(case.source, {"3_c.up.sql": "INSERT INTO a VALUES ('y')"})
    others = []

    def overtake() -> None:
        case.runner.query(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        others.append(case.up(own.port))

    with lost_reply(own, 1, overtake) as proxy:
        done = case.up(proxy.port)
    assert [other.code for other in others] == [0]
    assert done.code == 1, done.command
    assert "it took effect, and another run has brought the database to 3 since" in done.output
    assert case.runner.row == [(3, False)]
    assert case.runner.query("SELECT t FROM a ORDER BY t") == [("x",), ("y",)]
