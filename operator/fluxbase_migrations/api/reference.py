"""The lists of docs/resource.md: ``python -m fluxbase_migrations.api.reference [--write]``.

They are made from the models.
Each list stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``; the text around them is written by hand.
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from fluxbase_migrations.api.crd import definition
from fluxbase_migrations.api.reasons import ADVICE, EFFECTS, EVENTS, OUTCOMES, WARNING_EVENTS, Effect, effect
from fluxbase_migrations.api.transitions import TRANSITIONS, Transition
from fluxbase_migrations.core.names import Phase
from fluxbase_migrations.core.result import Outcome

PATH: Final = Path("docs/resource.md")
WIDTH: Final = 100
"""Columns of generated Markdown."""

_STARTS_A_BLOCK: Final = re.compile(r"^( *)([-+#>*]|\d+[.)])(?= |$)")


def item(text: str, level: int = 0) -> str:
    """``text`` as an item of a Markdown list, wrapped; ``level`` counts the lists around it."""
    indent = "  " * level
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"{indent}- ",
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join([lines[0], *(_STARTS_A_BLOCK.sub(r"\1\\\2", line) for line in lines[1:])])


def _schema(part: str) -> dict[str, Any]:
    (version,) = definition()["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"][part]
    return schema


def _fields(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """One item for each field; fields of the same shape side by side share the items of what is in them."""
    required = schema.get("required", ())
    for names, fields in _same_shape(schema.get("properties", {})):
        for name, field in zip(names, fields, strict=True):
            about = ", ".join(part for part in (_kind(field), _default(name, field, required)) if part)
            yield item(f"`{path}{name}` ({about}): {field.get('description', '')}")
        inner = fields[0].get("items", fields[0])
        name = names[0] if len(names) == 1 else "{" + ",".join(names) + "}"
        yield from _fields(inner, f"{path}{name}[]." if "items" in fields[0] else f"{path}{name}.")


def _same_shape(properties: dict[str, Any]) -> Iterator[tuple[list[str], list[dict[str, Any]]]]:
    groups: list[tuple[list[str], list[dict[str, Any]]]] = []
    for name, field in properties.items():
        for names, fields in groups:
            if field.get("properties") and field["properties"] == fields[0].get("properties"):
                names.append(name)
                fields.append(field)
                break
        else:
            groups.append(([name], [field]))
    yield from groups


def _kind(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(f"`{value}`" for value in field["enum"])
    if field["type"] == "array":
        return f"list of {_kind(field['items'])}"
    if "additionalProperties" in field:
        return "map"
    return str(field.get("format") if field.get("format") == "date-time" else field["type"])


def _default(name: str, field: dict[str, Any], required: Iterable[str]) -> str:
    if name in required:
        return "required"
    default = field.get("default")
    if default is None or default == {}:
        return ""
    if isinstance(default, bool):
        return f"default `{str(default).lower()}`"
    return f"default `{default}`" if default != "" else "default empty"


def _transitions() -> Iterator[str]:
    for line in TRANSITIONS:
        yield item(f"**{line.event}**")
        yield item(_transition(line), 1)


def _transition(line: Transition) -> str:
    before = "any phase" if line.before == set(Phase) else ", ".join(p for p in Phase if p in line.before)
    reasons = ", ".join(f"`{reason}`" for reason in sorted(line.reasons)) or "Kubernetes' own"
    return f"{before} → **{line.phase}**, reason {reasons}. Set: {line.shows}. Operator: {line.does}."


def _outcomes() -> Iterator[str]:
    for kind in Effect:
        yield item(f"**{EFFECTS[kind]}**")
        for outcome in (*Outcome, None):
            if effect(outcome) is kind:
                name = f"`{outcome}`" if outcome else "none (`ResultMissing`)"
                yield item(f"{name}: {OUTCOMES[outcome]} {ADVICE.get(outcome, '') if outcome else ''}", 1)


def _events() -> Iterator[str]:
    for reason, when in EVENTS.items():
        yield item(f"{'Warning' if reason in WARNING_EVENTS else 'Normal'} **{reason}**: {when}")


def lists() -> dict[str, str]:
    """The lists by name."""
    return {
        "spec": "\n".join(_fields(_schema("spec"))),
        "status": "\n".join(_fields(_schema("status"))),
        "states": "\n".join(_transitions()),
        "outcomes": "\n".join(_outcomes()),
        "events": "\n".join(_events()),
    }


def filled(text: str) -> str:
    """``text`` with each list in its place.

    Raises:
        ValueError: there is no place for one.
    """
    for name, content in lists().items():
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, count = place.subn(lambda match, content=content: f"{match[1]}\n{content}\n\n{match[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"no place for the list {name}")
    return text


def main(arguments: list[str] | None = None) -> int:
    """Fill in the lists."""
    parser = argparse.ArgumentParser(prog="python -m fluxbase_migrations.api.reference", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"into {PATH}")
    text = filled(PATH.read_text())
    if parser.parse_args(arguments).write:
        PATH.write_text(text)
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
