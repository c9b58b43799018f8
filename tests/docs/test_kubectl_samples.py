"""What docs/cli.md shows of ``kubectl fluxbase`` is what it prints, of a set like that."""

import re
import shlex
from pathlib import Path

import pytest

from fluxbase_migrations.cli.kubectl import commands, versions
from fluxbase_migrations.cli.kubectl.cluster import Cluster
from fluxbase_migrations.core.json_names import Json
from tests.support.shop_set import FILES, Shown, applied, failed, options

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text().split("\n## kubectl fluxbase")[1]
SAMPLES = re.findall(r"^```console\n\$ kubectl fluxbase (.*)\n((?:.*\n)*?)```$", PAGE, re.MULTILINE)
CUT = "…"


def running() -> Json:
    found = failed()
    progress = {"file": "003_totals.up.sql", "number": 1, "total": 1}
    found["status"]["tracks"]["user"]["progress"] = progress
    return found


class Willing(Shown):
    """Creates what it is told to."""

    def create(self, body: Json, *, dry_run: bool = False) -> Json:
        return body


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.mark.parametrize(("line", "shown"), SAMPLES, ids=[line for line, _ in SAMPLES])
def test_a_sample_is_what_is_printed(
    line: str,
    shown: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name, text in FILES.items():
        (tmp_path / "migrations").mkdir(exist_ok=True)
        (tmp_path / "migrations" / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    given = options(*shlex.split(line))
    if given.command == "watch":
        given.timeout = 0
    if given.command == "rollback":  # here nobody can answer, and nothing comes of it
        given.yes, given.wait = True, False
        shown = shown.replace("Go on? [y/N] y\n", "")
    first = running() if given.command == "watch" else failed()
    cluster: Cluster = Willing(first, applied(), name=getattr(given, "name", ""))
    if given.command == "version":
        print(versions.client())
    commands.COMMANDS[given.command](cluster, given)
    printed = capfd.readouterr()
    text = re.sub(
        r" +$", "", (printed.err if given.command == "rollback" else "") + printed.out, flags=re.MULTILINE
    )
    if CUT in shown:
        assert text.startswith(shown.partition(CUT)[0])
    else:
        assert text == shown


def test_there_is_a_sample_for_each_view() -> None:
    assert {line.split()[0] for line, _ in SAMPLES} >= {
        *("list", "status", "describe", "history", "watch", "create", "rollback", "version")
    }
