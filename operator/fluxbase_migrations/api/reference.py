"""The tables of docs/resource.md: ``python -m fluxbase_migrations.api.reference [--write]``.

They are made from the models.
Each table stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``; the text around them is written by hand.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from fluxbase_migrations.api.crd import definition
from fluxbase_migrations.api.reasons import ADVICE, EFFECTS, OUTCOMES, effect
from fluxbase_migrations.api.transitions import TRANSITIONS
from fluxbase_migrations.core.names import Phase
from fluxbase_migrations.core.result import Outcome

PATH: Final = Path("docs/resource.md")


def _schema(part: str) -> dict[str, Any]:
    (version,) = definition()["spec"]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"][part]
    return found


def _rows(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, ...]]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        here = f"{path}{name}"
        inner = field.get("items", field)
        kind = _kind(field)
        default = "required" if name in required else _default(field)
        yield f"`{here}`", kind, default, _cell(field.get("description", ""))
        yield from _rows(inner, f"{here}[]." if "items" in field else f"{here}.")


def _kind(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " \\| ".join(f"`{value}`" for value in field["enum"])
    if field["type"] == "array":
        return f"list of {_kind(field['items'])}"
    if "additionalProperties" in field:
        return "map"
    return str(field.get("format") if field.get("format") == "date-time" else field["type"])


def _default(field: dict[str, Any]) -> str:
    default = field.get("default")
    if default is None or default == {}:
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _outcomes() -> Iterator[tuple[str, ...]]:
    for outcome in (*Outcome, None):
        name = f"`{outcome}`" if outcome else "none (`ResultMissing`)"
        advice = ADVICE.get(outcome, "") if outcome else ""
        yield name, _cell(OUTCOMES[outcome]), _cell(EFFECTS[effect(outcome)]), _cell(advice)


def _transitions() -> Iterator[tuple[str, ...]]:
    for line in TRANSITIONS:
        before = "any" if line.before == set(Phase) else ", ".join(p for p in Phase if p in line.before)
        reasons = ", ".join(f"`{reason}`" for reason in sorted(line.reasons)) or "Kubernetes' own"
        yield _cell(line.event), before, line.phase, reasons, line.shows, _cell(line.does)


def tables() -> dict[str, str]:
    """The tables by name."""
    fields = ("field", "type", "default", "meaning")
    return {
        "spec": _table(fields, _rows(_schema("spec"))),
        "status": _table(fields, _rows(_schema("status"))),
        "states": _table(
            ("what happens", "from", "phase", "reason", "the set is", "the operator"), _transitions()
        ),
        "outcomes": _table(("outcome of a run", "meaning", "makes of the track", "what to do"), _outcomes()),
    }


def filled(text: str) -> str:
    """``text`` with each table in its place.

    Raises:
        ValueError: there is no place for one.
    """
    for name, table in tables().items():
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, count = place.subn(lambda found, table=table: f"{found[1]}{table}\n{found[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"no place for the table {name}")
    return text


def main(arguments: list[str] | None = None) -> int:
    """Fill in the tables."""
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
