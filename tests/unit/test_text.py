"""Text of others is shown, never obeyed."""

import json

import pytest

from fluxbase_migrations.cli.history import show
from fluxbase_migrations.cli.kubectl import status
from fluxbase_migrations.core.errors import StatementFailed
from fluxbase_migrations.core.result import AppliedFile, ErrorInfo, Outcome, Result
from fluxbase_migrations.core.text import shortened, visible

CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0x061C, 0x200E, 0x200F]
CONTROLS += [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF, 0xE0041]


@pytest.mark.parametrize("code", CONTROLS, ids=hex)
def test_what_a_terminal_obeys_is_shown_as_an_escape(code: int) -> None:
    shown = visible(f"größe {chr(code)} 表")
    assert chr(code) not in shown
    assert shown.startswith("größe \\")
    assert shown.endswith(" 表")


@pytest.mark.parametrize(
    "text", ["", "größe", "数据库", "a\u00a0b", "e\u0301", "👩\u200d💻", "C:\\n", 'say "x"', "עברית"]
)
def test_every_other_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_a_file_name_that_was_not_decoded_is_shown_as_what_it_is() -> None:
    assert visible("größe".encode().decode("ascii", "surrogateescape")) == "größe"
    assert visible(b"caf\xe9".decode("utf-8", "surrogateescape")) == "caf\\xe9"
    assert visible("\ud800").isprintable()


def test_the_middle_of_a_long_text_is_left_out_and_that_is_said() -> None:
    found = shortened("a" * 5000 + "the end", 1000)
    assert len(found) <= 1000
    assert found.endswith("the end")
    assert "characters left out" in found
    assert shortened("short", 1000) == "short"


HOSTILE = "no\nERROR all is lost\x1b[2J\u202e"


def test_no_error_and_no_result_holds_a_control_character() -> None:
    error = StatementFailed(HOSTILE, file=HOSTILE, detail=HOSTILE, hint=HOSTILE).with_effect(HOSTILE)
    assert str(error).isprintable()
    result = Result(
        Outcome.SQL_ERROR,
        applied=(AppliedFile(1, HOSTILE, "up", 0.1),),
        warnings=(HOSTILE,),
        recovered=HOSTILE,
        error=error.info,
    )
    assert "\\n" not in repr(json.loads(result.to_json())).replace("\\\\n", "")
    read = Result.from_json('{"outcome":"SQLError","error":{"message":"a\\u001bb"},"warnings":["\\u009b"]}')
    assert (read.error, read.warnings) == (ErrorInfo("a\\x1bb"), ("\\x9b",))


def test_a_sets_status_is_shown_line_by_line() -> None:
    track = {"phase": "Failed", "message": HOSTILE, "error": {"message": HOSTILE}, "warnings": [HOSTILE]}
    found = {"metadata": {"namespace": "n", "name": "s"}, "status": {"tracks": {"user": track}}}
    for line in status.render(found).split("\n"):
        assert line.isprintable()


def test_an_empty_history_is_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    assert show([]) == 0
    assert capsys.readouterr().out.startswith("STARTED")
