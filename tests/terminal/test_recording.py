"""A session fails where something else is seen than what is recorded."""

from pathlib import Path

import pytest

from tests.terminal import recording
from tests.terminal.recording import Shell, Step
from tests.terminal.shop import variables

ASKING = "read -p 'Go on? ' answer; printf 'it is \\033[31m%s\\033[0m' \"$answer\""
RECORDED = [
    Step("echo one  two", ["one two"]),
    Step(ASKING, ["Go on? y", "it is \x1b[31my\x1b[0m"]),
    Step("printf 'a\\nb\\nc\\n'", ["a", "…"]),
]


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.delenv("TERMINAL", raising=False)
    monkeypatch.setattr(recording, "read", lambda: {"test": RECORDED})
    made = Shell(tmp_path, variables())
    made.session("test")
    return made


def test_what_is_recorded_is_seen(shell: Shell) -> None:
    shell.type("echo one  two")
    shell.type(ASKING, ("Go on?", "y"))
    shell.type("printf 'a\\nb\\nc\\n'", first=1)
    shell.close()


@pytest.mark.parametrize("typed", ["echo one", "echo one  two; echo three"])
def test_what_looks_otherwise_is_no_success(shell: Shell, typed: str) -> None:
    with pytest.raises(AssertionError, match="make terminal"):
        shell.type(typed)


def test_a_colour_is_part_of_what_is_seen(shell: Shell) -> None:
    shell.type("echo one  two")
    with pytest.raises(AssertionError, match="make terminal"):
        shell.shows(ASKING, ["Go on? y", "it is y"])


def test_what_is_no_longer_typed_is_told(shell: Shell) -> None:
    shell.type("echo one  two")
    with pytest.raises(AssertionError, match="make terminal"):
        shell.close()


def test_an_exit_code_is_part_of_what_is_seen(shell: Shell) -> None:
    with pytest.raises(AssertionError):
        shell.type("echo one  two; false")


def test_a_session_that_failed_is_not_recorded(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "FRESH", tmp_path / "fresh")
    shell._record = True
    with pytest.raises(AssertionError):
        shell.type("false")
    shell.close()
    assert not (tmp_path / "fresh").exists()


def test_what_looks_alike_stays_as_it_was() -> None:
    before = [Step("a", ["x  1"]), Step("b", ["y  1"])]
    fresh = [Step("a", ["x   1"]), Step("b", ["y  2"]), Step("c", [])]
    assert recording._kept(fresh, before) == [before[0], *fresh[1:]]
