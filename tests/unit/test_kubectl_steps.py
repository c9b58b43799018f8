"""What ``rollback`` and ``force`` say before they change anything, and what is told while one waits."""

import io
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from fluxbase_migrations.cli.kubectl import preview
from fluxbase_migrations.cli.kubectl.commands import COMMANDS, may_pass
from fluxbase_migrations.cli.kubectl.following import follow
from fluxbase_migrations.core.config_maps import merged
from fluxbase_migrations.core.digest import source_digest
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import Track
from tests.support.shop_set import FILES, Shown, failed, options

DIGEST = source_digest(merged({"shop-migrations": {"data": FILES}}))


def a_set(**user: Any) -> Json:
    found = failed()
    found["status"]["tracks"]["user"] = {"phase": "Applied", "version": 3, "latest": 3, "pending": 0, **user}
    return found


def read(name: str) -> Json:
    return Shown().config_map(name)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (1, ["from version 3 to version 1", "2 down files:", "003_totals.down.sql", "002_orders.down.sql"]),
        (0, ["from version 3 to nothing", "3 down files:", "003_", "002_", "001_users.down.sql"]),
        (3, ["from version 3 to version 3", "no file runs"]),
        (None, ["from version 3 to the latest version", "no file runs"]),
        (9, ["from version 3 to version 9", "no file can run: "]),
    ],
)
def test_a_rollback_lists_the_files_that_run(target: int | None, told: list[str]) -> None:
    lines = preview.rollback(a_set(), Track.USER, target, read)
    assert len(lines) == len(told)
    for line, words in zip(lines, told, strict=True):
        assert words in line


def test_a_rollback_without_a_down_file_is_told_with_the_version() -> None:
    files = {name: text for name, text in FILES.items() if name != "002_orders.down.sql"}
    lines = preview.rollback(a_set(), Track.USER, 1, lambda name: {"data": files})
    assert "needs a down file for version 2" in lines[-1]


def test_a_long_list_is_cut() -> None:
    files = {f"{number:03d}_a.down.sql": "SELECT 1;" for number in range(1, 101)}
    lines = preview.rollback(a_set(version=100), Track.USER, 0, lambda name: {"data": files})
    assert len(lines) == 2 + 20 + 1
    assert lines[-1].strip() == "and 80 more"


def test_where_only_a_run_can_see_the_files_that_is_told() -> None:
    found = a_set()
    found["spec"]["tracks"]["user"]["source"] = {"persistentVolumeClaim": {"claimName": "files"}}
    assert "on a volume" in preview.rollback(found, Track.USER, 1, read)[-1]


def test_where_no_run_has_read_the_database_nothing_is_guessed() -> None:
    found = a_set()
    found["status"] = {}
    (line,) = preview.rollback(found, Track.USER, 1, read)
    assert "no run has read the database yet" in line


def test_the_built_in_files_are_known() -> None:
    found = a_set()
    found["status"]["tracks"]["system"] = {"version": 6, "pending": 0}
    assert "  1 down file:" in preview.rollback(found, Track.SYSTEM, 5, read)


@pytest.mark.parametrize(
    ("spec", "version", "told"),
    [
        ({}, 1, ["2 up files:", "002_orders.up.sql", "003_totals.up.sql"]),
        ({}, 3, ["no file runs"]),
        ({}, -1, ["3 up files:", "001_", "002_", "003_"]),
        ({"targetVersion": 1, "rollback": "Allow"}, 3, ["2 down files:", "003_", "002_"]),
        ({"targetVersion": 1}, 3, ["no file can run: "]),
    ],
    ids=["lower", "the latest", "nothing", "down to the target", "which is forbidden"],
)
def test_a_force_tells_what_the_operator_runs_after_it(spec: Json, version: int, told: list[str]) -> None:
    found = a_set(dirty=True)
    found["spec"]["tracks"]["user"] |= spec
    heading, _, *lines = preview.force(found, Track.USER, version, read)
    assert "recorded now: version 3 (dirty)" in heading
    for line, words in zip(lines, told, strict=True):
        assert words in line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("arguments", "stdin", "changed"),
    [
        ((), Terminal("y\n"), True),
        ((), Terminal("yes\n"), True),
        ((), Terminal("n\n"), False),
        ((), Terminal("\n"), False),
        ((), Terminal(""), False),
        (("--yes",), Terminal(""), True),
        ((), io.StringIO(""), True),
    ],
    ids=["y", "yes", "n", "Enter", "closed", "--yes", "no terminal"],
)
@pytest.mark.parametrize("command", [("rollback", "shop", "--to", "1"), ("force", "shop", "1")])
def test_on_a_terminal_it_is_asked_first(
    command: tuple[str, ...],
    arguments: tuple[str, ...],
    stdin: io.StringIO,
    changed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stdin.seek(0)
    monkeypatch.setattr("sys.stdin", stdin)
    cluster, given = Shown(a_set()), options(*command, *arguments)
    assert COMMANDS[given.command](cluster, given) == (0 if changed else 1)
    assert bool(cluster.patches) is changed


def test_a_version_that_the_source_lacks_needs_a_yes_also_without_a_terminal() -> None:
    cluster, given = Shown(a_set()), options("force", "shop", "9")
    assert COMMANDS["force"](cluster, given) == 2
    assert cluster.patches == []


class Changing(Shown):
    """A set that is another at each look, and in the end stays as it is."""

    def __init__(self, *looks: Json) -> None:
        super().__init__()
        self.looks = list(looks)

    def read(self) -> Json:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


def running(number: int, **more: Any) -> Json:
    progress = {"file": f"00{number}.up.sql", "number": number, "total": 3, **more}
    found = a_set(phase="Running", progress=progress)
    found["status"]["conditions"] = [{"type": "Ready", "status": "False", "reason": "Running"}]
    return found


def ended(ready: bool) -> Json:
    found = a_set(sourceDigest=DIGEST) if ready else failed()
    if ready:
        found["status"]["conditions"] = [{"type": "Ready", "status": "True", "message": "user: version 3"}]
    found["status"]["tracks"]["user"]["sourceDigest"] = DIGEST
    return found


@pytest.mark.parametrize("ready", [True, False])
def test_each_change_is_a_line_until_the_outcome(ready: bool, capsys: pytest.CaptureFixture[str]) -> None:
    waiting = running(2, waiting="a lock, held by pid 1")
    cluster = Changing(running(1), running(1), running(2), waiting, ended(ready))
    pauses: list[float] = []
    assert follow(cluster, None, pauses.append, clock=lambda: float(len(pauses))) is ready
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[:3] == [
        "fluxbase/shop: 0s: user track: 001.up.sql, file 1 of 3",
        "fluxbase/shop: 2s: user track: 002.up.sql, file 2 of 3",
        "fluxbase/shop: 3s: user track: 002.up.sql, file 2 of 3, waiting for a lock, held by pid 1",
    ]
    assert len(lines) == 4
    assert ("next: kubectl fluxbase retry" in printed.err) is not ready


def test_waiting_ends_with_its_timeout(capsys: pytest.CaptureFixture[str]) -> None:
    pauses: list[float] = []
    assert not follow(Changing(running(1)), 90, pauses.append, clock=lambda: float(len(pauses)))
    assert "not Applied after 90s" in capsys.readouterr().err


def test_an_api_server_that_is_away_for_a_while_ends_no_watch(capsys: pytest.CaptureFixture[str]) -> None:
    answers = [HTTPError(), ApiException(503, "starting"), ApiException(429, "busy")]

    class Away(Changing):
        def read(self) -> Json:
            if answers:
                raise answers.pop(0)
            return super().read()

    assert follow(Away(ended(True)), None, lambda seconds: None, passing=may_pass)
    assert "does not answer" in capsys.readouterr().out


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_will_not_pass_ends_a_watch(status: int) -> None:
    class Refusing(Shown):
        def read(self) -> Json:
            raise ApiException(status, "no")

    with pytest.raises(ApiException):
        follow(Refusing(), None, lambda seconds: None, passing=may_pass)


@pytest.mark.parametrize("command", [("rollback", "shop", "--to", "1"), ("force", "shop", "1", "--yes")])
def test_who_may_not_read_the_files_is_told_so_and_can_go_on(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    class Forbidden(Shown):
        def config_map(self, name: str) -> Json:
            raise ApiException(403, "Forbidden")

    cluster, given = Forbidden(a_set()), options(*command)
    assert COMMANDS[given.command](cluster, given) == 0
    assert "Forbidden" in capsys.readouterr().err
    assert cluster.patches


@pytest.mark.parametrize(
    "command",
    [("retry", "shop"), ("force", "shop", "1", "--yes"), ("rollback", "shop", "--to", "1", "--yes")],
)
@pytest.mark.parametrize("ready", [True, False])
def test_the_exit_code_of_a_command_that_waits_is_the_outcomes(command: tuple[str, ...], ready: bool) -> None:
    given = options(*command, "--wait", "--timeout", "10s")
    assert COMMANDS[given.command](Changing(ended(ready)), given) == (0 if ready else 1)
