"""What the documentation names exists, and what exists is documented."""

import argparse
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from fluxbase_migrations.api.crd import definition
from fluxbase_migrations.cli import options
from fluxbase_migrations.cli.help_texts import GROUPS
from fluxbase_migrations.cli.kubectl.arguments import EXAMPLES
from fluxbase_migrations.controller.process.settings import Settings
from fluxbase_migrations.core import names
from tests.docs.test_samples import PAGES, ROOT, make_targets
from tests.generate.commands import Page, kubectl, migrate

WIDTH = 120
OURS = [page for page in PAGES if page.name != "CHANGELOG.md"]
CODE = [
    *(ROOT / "operator").rglob("*.py"),
    *(ROOT / "deploy").rglob("*.*"),
    *(ROOT / "tests/chaos").glob("*.py"),
]
ELSEWHERE = {
    *(
        "AlwaysPullImages",
        "BackOff",
        "ConfigMap",
        "CreateContainerConfigError",
        "FailedCreate",
        "FailedMount",
    ),
    *("GitRepository", "HelmRelease", "ImagePullBackOff", "OOMKilled", "ReadWriteMany", "ReadWriteOnce"),
}
"""Names of Kubernetes and Flux."""


def text_of(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^( *)```.*?^\1```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def inline(pattern: str) -> Iterator[tuple[str, str]]:
    """Page and match of what stands between backticks and matches as a whole."""
    for page in OURS:
        for code in re.findall(r"`([^`\n]+)`", text_of(page)):
            if re.fullmatch(pattern, code):
                yield page.name, code


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_lines_can_be_read_in_a_narrow_window(path: Path) -> None:
    wide = [line for line in text_of(path).splitlines() if len(re.sub(r"\]\([^)]*\)", "]", line)) > WIDTH]
    assert wide == []


def anchors(path: Path) -> set[str]:
    """What a link may name behind `#`, by GitHub's rule."""
    heads = re.findall(r"^#+ (.+)$", text_of(path), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_a_heading(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", text_of(path)):
        assert anchor in anchors((path.parent / target) if target else path), f"{target}#{anchor}"


class Recording(Mapping[str, str]):
    """An environment that knows what was asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def operator_variables() -> dict[str, str | None]:
    """The variables that docs/operator.md lists, with their defaults."""
    section = page("operator.md").split("## Environment")[1].split("\n## ")[0]
    items = re.findall(r"^- `(\w+)`: (.*?)(?=^- |\Z)", section, re.MULTILINE | re.DOTALL)
    return {
        name: default[1] if (default := re.search(r"Default:\s+`(.*?)`", text)) else None
        for name, text in items
    }


def test_the_operator_reads_the_variables_that_are_documented() -> None:
    environment = Recording({"MIGRATION_IMAGE": "image"})
    Settings.from_environment(environment)
    assert environment.asked == set(operator_variables())


SETTINGS = {
    "JOB_IMAGE_PULL_POLICY": "pull_policy",
    "MIGRATIONS_CLAIM_NODE_BOUND": "claim_node_bound",
    "PROGRESS": "progress",
    "LEADER_ELECTION": "leader_election",
}
"""Settings that are called otherwise than their variable, or whose values are."""
WORDS: dict[Any, tuple[str, ...]] = {True: ("on", "true"), False: ("off", "false")}


def test_the_operator_has_the_defaults_that_are_documented() -> None:
    settings = Settings.from_environment({"MIGRATION_IMAGE": "image"})
    known = {field.name for field in fields(Settings)}
    for variable, default in operator_variables().items():
        name = SETTINGS.get(variable, variable.lower())
        if default is None or name not in known:
            continue
        value = getattr(settings, name)
        assert default in (WORDS[value] if isinstance(value, bool) else (str(value),)), variable


def test_every_option_of_the_command_line_is_documented_with_its_variable() -> None:
    text = page("fluxbase-migrate.md").split("## Options of several commands")[1]
    documented = dict(re.findall(r"^- `(--[\w-]+)[^`]*`,\s+`(\w+)`:", text, re.MULTILINE))
    assert documented == {option.flag: option.variable for option in options.OPTIONS}


@pytest.mark.parametrize("page", [migrate(), kubectl()], ids=lambda page: str(page.program))
def test_every_command_has_a_place_in_the_reference(page: Page) -> None:
    text = page.path.read_text()
    assert sorted(page.commands) == sorted(name for names in page.groups.values() for name in names)
    for name, command in page.commands.items():
        told = text.split(f"\n### {name}\n")[1].split("\n### ")[0]
        for action in command._actions:
            shown = action.help != argparse.SUPPRESS and action.dest not in ("help", *shared(page))
            assert not shown or all(f"`{option}" in told for option in action.option_strings), action


def shared(page: Page) -> set[str]:
    """The options that the end of the page has."""
    return {one.dest for actions in page.shared.values() for one in actions}


@pytest.mark.parametrize("page", [migrate(), kubectl()], ids=lambda page: str(page.program))
def test_the_reference_fits_a_narrow_window(page: Page) -> None:
    assert [line for line in page.path.read_text().splitlines() if len(line) > 100] == []


def fields_of(part: str) -> set[str]:
    """Every field of the resource below spec or status, without what tells lists."""
    (version,) = definition()["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"][part]

    def paths(inner: dict[str, Any], before: str) -> Iterator[str]:
        yield before
        for name, field in inner.get("properties", {}).items():
            yield from paths(field.get("items", field), f"{before}.{name}")

    return set(paths(schema, part))


def test_every_field_that_is_named_exists() -> None:
    known = fields_of("spec") | fields_of("status")
    for where, code in inline(r"(spec|status)(\.[a-zA-Z*]+)+"):
        pattern = re.escape(code).replace(r"\*", r"\w+")
        assert any(re.fullmatch(pattern, field) for field in known), f"{where}: {code}"


def test_every_annotation_that_is_named_exists_and_the_other_way_round() -> None:
    known = {value for name, value in vars(names).items() if name.startswith(("ANNOTATION_", "LABEL_"))}
    named = {code.partition("=")[0].partition(":")[0] for _, code in inline(r"fluxbase\.io/[a-z-]+\b.*")}
    assert named - {f"{names.GROUP}/{names.VERSION}"} <= known
    commands = {names.ANNOTATION_REQUESTED_AT, names.ANNOTATION_FORCE, names.ANNOTATION_TAKE_OVER}
    assert commands <= named


def test_every_target_that_is_named_exists() -> None:
    for where, code in inline(r"make( [a-z-]+)+( .*)?"):
        for target in re.match(r"make((?: [a-z-]+)+)", code)[1].split():  # type: ignore[index]
            assert target in make_targets(), f"{where}: {code}"


def test_every_target_is_documented() -> None:
    told = "".join(page.read_text() for page in OURS)
    shown = re.findall(r"^([a-z-]+):.*?## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [name for name in shown if not re.search(rf"(make |`){name}\b", told)] == []


def test_every_command_that_is_named_exists() -> None:
    ours = {
        "kubectl fluxbase": set(EXAMPLES),
        "fluxbase-migrate": {name for group in GROUPS.values() for name in group},
    }
    for start, known in ours.items():
        for where, code in inline(rf"{start} [a-z][a-z-]*( .*)?"):
            assert code.removeprefix(start).split()[0] in known, f"{where}: {code}"


def test_every_command_of_the_command_line_is_documented() -> None:
    told = page("cli.md").split("## Options")[0]
    commands = (name for group in GROUPS.values() for name in group)
    assert [
        name for name in commands if not re.search(rf"^- `{name}\b|migrate {name} ", told, re.MULTILINE)
    ] == []


def test_every_command_of_the_plugin_is_documented() -> None:
    told = page("cli.md").split("## kubectl fluxbase")[1]
    assert [name for name in EXAMPLES if not re.search(rf"`{name}( S|`| \[)", told)] == []


def test_every_reason_that_is_named_exists() -> None:
    code = "".join(path.read_text(errors="replace") for path in CODE if path.is_file())
    for where, word in inline(r"[A-Z][a-z]+([A-Z][a-z]+)+"):
        assert word in ELSEWHERE or word in code, f"{where}: {word}"


def values(part: dict[str, Any], before: str = "") -> Iterator[str]:
    for name, value in part.items():
        yield f"{before}{name}"
        if isinstance(value, dict):
            yield from values(value, f"{before}{name}.")


def test_every_value_of_the_chart_that_is_named_exists() -> None:
    known = set(values(yaml.safe_load((ROOT / "deploy/helm/fluxbase/values.yaml").read_text())))
    tops = {name.partition(".")[0] for name in known}
    for where, code in inline(r"[a-zA-Z]+(\.[a-zA-Z]+)+"):
        if where == "helm.md" and code.partition(".")[0] in tops - {"verify"}:
            assert code in known, code


def test_the_chart_has_the_operators_defaults() -> None:
    chart = yaml.safe_load((ROOT / "deploy/helm/fluxbase/values.yaml").read_text())
    settings = Settings.from_environment({"MIGRATION_IMAGE": "image"})
    assert (chart["maxConcurrentJobs"], chart["maxConcurrentJobsPerNamespace"]) == (
        settings.max_concurrent_jobs,
        settings.max_concurrent_jobs_per_namespace,
    )
    assert (chart["progress"], chart["logFormat"]) == (settings.progress, settings.log_format)
    assert chart["operatorName"] == settings.operator_name
