"""``--help`` is short: commands in groups, and of the options those that a command uses."""

import argparse
import shlex

import pytest

from fluxbase_migrations.cli import help_texts, options
from fluxbase_migrations.cli.arguments import parser

COMMANDS = [name for group in help_texts.GROUPS.values() for name in group]
OPTIONS = {option.name: option for option in options.OPTIONS}


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        parser().parse_args(words)
    assert end.value.code == 0
    return capsys.readouterr().out


def test_the_groups_have_every_command_once(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "--help").splitlines()
    shown = [line.split()[0] for line in lines if line.startswith("  ") and line.split()[0] in COMMANDS]
    assert shown == COMMANDS
    assert sorted(COMMANDS) == sorted(help_texts.EXAMPLES)
    for title in help_texts.GROUPS:
        assert f"{title}:" in lines


def test_the_programs_own_help_fits_on_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "--help").splitlines()
    assert len(lines) < 60
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("columns", ["60", "100", "0", "many", None])
def test_help_is_as_wide_as_argparse_makes_it(columns: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    help_texts._width.cache_clear()
    assert help_texts.Formatter("x")._width == argparse.HelpFormatter("x")._width
    help_texts._width.cache_clear()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_shows_the_options_that_it_uses_and_no_others(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    shown = said(capsys, command, "--help")
    used = help_texts.USED.get(command, ())
    for name, option in OPTIONS.items():
        assert (f"{option.flag} " in shown) == (name in used), option.flag
        assert (f"[{option.variable}]" in " ".join(shown.split())) == (name in used)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_commands_examples_can_be_typed(capsys: pytest.CaptureFixture[str], command: str) -> None:
    shown = said(capsys, command, "--help")
    for example in help_texts.EXAMPLES[command]:
        assert f"  fluxbase-migrate {example}" in shown.splitlines()
        assert parser().parse_args(shlex.split(example)).command == command


@pytest.mark.parametrize("command", ["version", "create x", "validate", "config"])
def test_an_option_that_a_command_does_not_use_is_taken_all_the_same(command: str) -> None:
    given = parser().parse_args(["--on-signal", "finish", *command.split(), "--lock-timeout", "3s"])
    assert (given.on_signal, given.lock_timeout) == ("finish", 3.0)


@pytest.mark.parametrize(
    "words", ["up 1 --recovery manual", "--lock-timeout 3s goto 2", "--source up down 1"]
)
def test_the_parser_of_some_words_reads_them_as_the_whole_one_does(words: str) -> None:
    typed = shlex.split(words)
    assert parser(typed).parse_args(typed) == parser().parse_args(typed)
