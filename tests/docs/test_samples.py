"""Every sample in the documentation is real: it parses, and what it names exists."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import postgast
import pytest
import yaml

from fluxbase_migrations.api.spec import Spec
from fluxbase_migrations.cli import arguments
from fluxbase_migrations.cli.kubectl import program

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
FENCE = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]+)(?:#[^)]*)?\)")


@dataclass(frozen=True)
class Sample:
    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def samples(*languages: str) -> list[Sample]:
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in FENCE.finditer(text):
            if match[2] in languages:
                body = "\n".join(line.removeprefix(match[1]) for line in match[3].splitlines())
                found.append(Sample(page, text.count("\n", 0, match.start()) + 1, match[2], body))
    return found


@pytest.mark.parametrize("sample", samples("yaml"), ids=str)
def test_yaml_parses_and_every_set_is_valid(sample: Sample) -> None:
    for document in yaml.safe_load_all(sample.text):
        if isinstance(document, dict) and document.get("kind") == "FluxbaseMigrationSet":
            Spec.model_validate(document["spec"])


@pytest.mark.parametrize("sample", samples("sql"), ids=str)
def test_sql_is_postgresql(sample: Sample) -> None:
    postgast.parse(sample.text.replace("(...)", "()"))


@pytest.mark.parametrize("sample", samples("python"), ids=str)
def test_python_compiles(sample: Sample) -> None:
    compile(sample.text, str(sample), "exec")


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def commands(sample: Sample) -> Iterator[list[str]]:
    """Yield each simple command of a shell sample, prompts and comments left out."""
    text = re.sub(r"\\\n\s*", " ", sample.text)
    for line in text.splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words:
            yield words


@pytest.mark.parametrize("sample", samples("bash", "sh", "shell"), ids=str)
def test_shell_parses_and_names_what_exists(sample: Sample) -> None:
    done = subprocess.run(["bash", "-n"], input=sample.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for words in commands(sample):
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words[:1] == ["make"]:
            for target in words[1:]:
                assert "=" in target or target.startswith("-") or target in make_targets(), target
        if words[:1] == ["fluxbase-migrate"]:
            arguments.parser().parse_args(words[1:])
        if words[:2] == ["kubectl", "fluxbase"]:
            program.parser().parse_args(words[2:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page}: {target}"
