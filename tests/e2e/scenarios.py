"""What a person sees in each scenario: the lists of docs/scenarios.md, made from the end-to-end tests.

A test captures its decisive moments with :class:`Scenario`. Each must look as it is recorded in
`scenarios.json`, which the docs are rendered from, so the page cannot lie. `make scenarios` records afresh.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from fluxbase_migrations.api.reference import item
from tests.e2e.harness import MigrationSet, eventually

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
RECORDED: Final = HERE / "scenarios.json"
DOCS: Final = ROOT / "docs/scenarios.md"
FRESH: Final = ROOT / "build/scenarios"
SECTIONS: Final = {
    "test_faults": "Faults",
    "test_config_maps": "ConfigMaps",
    "test_scenarios_rollback": "Rolling back",
    "test_scenarios_approval": "Approval",
    "test_scenarios_commands": "Commands",
    "test_scenarios_databases": "Another database",
    "test_scenarios_ownership": "Who owns a database",
    "test_scenarios_recovery": "Retries and recovery",
    "test_scenarios_changes": "Changes in mid-run",
    "test_scenarios_deleted": "What somebody deletes",
    "test_scenarios_operator": "Several sets, several operators",
    "test_scenarios_tenants": "What tenants do to each other",
}
"""Heading of each module whose scenarios are in the docs, in this order."""

_STABLE: Final = 4
"""Looks in a row that must be the same before a moment is recorded."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What is seen at one point of a scenario."""

    when: str
    columns: str
    reason: str
    message: str
    event: str
    log: str


class Scenario:
    """One moment for each :meth:`sees`, under one title."""

    def __init__(self, title: str, *, strict: bool) -> None:
        self._title = title
        self._strict = strict
        self._record = os.environ.get("SCENARIOS") == "record"
        self._expected = {one["when"]: one for one in read().get(title, ())}
        self._moments: list[Moment] = []

    def sees(
        self,
        when: str,
        shop: MigrationSet,
        reason: str,
        *,
        event: str | None = None,
        log: bool = True,
        timeout: float = 90,
    ) -> str:
        """Wait until Ready has this reason, and everything looks as it is recorded; return Ready's message.

        ``event`` is the reason of the Event to show, and perhaps words of its message where two programs
        tell of it in any order; without it the newest is shown, whatever it is.
        """

        def look() -> Moment | None:
            return _look(shop, when, reason, event, log=log)

        try:
            seen = eventually(f"{shop.name} to be {reason}", look, timeout=timeout, every=0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is: {json.dumps(shop.status(), indent=1)}") from None
        if self._record:
            seen = self._settled(look, seen)
            self._moments.append(seen)
        elif self._strict:
            self._compare(look, seen)
        return shop.message()

    def _settled(self, look: Any, seen: Moment) -> Moment:
        same = 0

        def still() -> bool:
            nonlocal seen, same
            now = look()
            same = same + 1 if now == seen else 0
            seen = now or seen
            return same >= _STABLE or now is None  # it is over: the last look counts

        eventually(f"{self._title!r} to settle", still, timeout=30, every=0.4)
        return seen

    def _compare(self, look: Any, seen: Moment) -> None:
        """The Event and the log follow the status after a moment."""
        wanted = self._expected.get(seen.when)
        last: list[Moment] = [seen]

        def same() -> bool:
            last.append(look() or last[-1])
            return asdict(last[-1]) == wanted

        try:
            eventually("what docs/scenarios.md shows", same, timeout=20, every=0.5)
        except AssertionError:
            raise AssertionError(
                f"{self._title!r}, {seen.when!r} does not look as docs/scenarios.md says.\n"
                f"recorded: {json.dumps(wanted, indent=1)}\nseen: {json.dumps(asdict(last[-1]), indent=1)}\n"
                "If what was seen is right, run: make scenarios"
            ) from None

    def close(self) -> None:
        """Keep what was recorded, for :func:`main`."""
        if self._moments:
            FRESH.mkdir(parents=True, exist_ok=True)
            path = FRESH / (re.sub(r"\W+", "-", self._title.lower()) + ".json")
            path.write_text(json.dumps({self._title: [asdict(one) for one in self._moments]}))


def _look(shop: MigrationSet, when: str, reason: str, event: str | None, *, log: bool) -> Moment | None:
    body = shop.read()
    status: dict[str, Any] = body.get("status") or {}
    ready: dict[str, Any] = next((one for one in status.get("conditions", ()) if one["type"] == "Ready"), {})
    if ready.get("reason") != reason or status["observedGeneration"] != body["metadata"]["generation"]:
        return None
    tracks = status.get("tracks", {})
    columns = {
        "READY": ready["status"],
        "PHASE": status.get("phase"),
        "SYSTEM": tracks.get("system", {}).get("version"),
        "USER": tracks.get("user", {}).get("version"),
        "DIRTY": status.get("dirty"),
        "PENDING": status.get("pending"),
    }
    return Moment(
        when=when,
        columns=" ".join(
            f"{name}={str(value).lower() if value is True or value is False else value}"
            for name, value in columns.items()
            if value is not None
        ),
        reason=reason,
        message=normalised(ready["message"], shop),
        event=normalised(_newest(shop.events(), event), shop),
        log=normalised(shop.log()[-1:], shop) if log else "",
    )


def _newest(events: list[str], described: str | None) -> list[str]:
    if described is None:
        return events[-1:]
    reason, _, words = described.partition(" ")
    return [event for event in events if event.split()[1] == reason and words in event][-1:]


_PATTERNS: Final = (
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
    (r"\b\d\d:\d\d:\d\d\b", "TIME"),
    (r"\b\d+\.\d+\.\d+\.\d+\b", "ADDRESS"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UID"),
    (r"sha256:[0-9a-f]{12,}", "sha256:…"),
    (r"-(sys|usr)-[a-z2-7]{10}(-[a-z0-9]{5})?", r"-\1-…"),
    (r"\b\d+(\.\d+)? (s|ms)\b", r"N \2"),
    (r"\b(pid|backend|system identifier|OID) \d+", r"\1 N"),
)


def normalised(text: str | list[str], shop: MigrationSet) -> str:
    """``text`` without what differs from run to run."""
    text = " ".join(" ".join([text] if isinstance(text, str) else text).split())
    for other, name in {**shop.others, shop.name: "shop", shop.database.name: "shop"}.items():
        text = text.replace(other, name)
    text = re.sub(rf"\b{shop.kube.namespace}\b", "fluxbase", text)
    for pattern, placeholder in _PATTERNS:
        text = re.sub(pattern, placeholder, text)
    return text


def read() -> dict[str, list[dict[str, str]]]:
    """The recorded scenarios, by title."""
    found: dict[str, list[dict[str, str]]] = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    return found


def filled(text: str, recorded: dict[str, list[dict[str, str]]]) -> str:
    """The page with its lists: one heading for each module, scenarios in the order of the tests."""
    parts = []
    for module, heading in SECTIONS.items():
        source = (HERE / f"{module}.py").read_text()
        titles = sorted((title for title in recorded if _quoted(title) in source), key=source.index)
        scenarios = (f"### {title}\n\n{_moments(recorded[title])}\n" for title in titles)
        parts.append(f"## {heading}\n\n" + "\n".join(scenarios))
    place = re.compile(r"(<!-- scenarios -->\n).*(<!-- /scenarios -->)", re.DOTALL)
    return place.sub(lambda found: f"{found[1]}\n" + "\n".join(parts) + f"\n{found[2]}", text)


def _moments(moments: list[dict[str, str]]) -> str:
    return "\n".join(line for moment in moments for line in _moment(moment))


def _moment(moment: dict[str, str]) -> Iterator[str]:
    """The moment's heading, and below it what each command shows."""
    message = moment["message"]
    when = moment["when"] or "At first"
    yield item(f"**{when[0].upper()}{when[1:]}**: `{moment['columns']}`")
    yield item(f"Ready: **{moment['reason']}**, {_text(message)}", 1)
    if moment["event"]:
        yield item(f"Event: {_text(moment['event'], message)}", 1)
    if moment["log"]:
        yield item(f"Log: {_text(moment['log'], message)}", 1)


def _text(text: str, known: str = "") -> str:
    """``text`` for Markdown; what the line before it says already is left out."""
    said = known.partition(": ")[2]
    text = text.replace(known, "(the same)").replace(said, "(the same)") if len(said) > 40 else text
    return re.sub(r"([<*\[])", r"\\\1", text)


def orphans(recorded: dict[str, list[dict[str, str]]]) -> set[str]:
    """Titles that no test has any more."""
    sources = "".join((HERE / f"{module}.py").read_text() for module in SECTIONS)
    return {title for title in recorded if _quoted(title) not in sources}


def _quoted(title: str) -> str:
    return f'"{title}"'


def main() -> None:
    """Take over what was recorded afresh, and render the docs."""
    recorded = read()
    for path in sorted(FRESH.glob("*.json")):
        recorded |= json.loads(path.read_text())
        path.unlink()
    for title in orphans(recorded):
        del recorded[title]
    RECORDED.write_text(json.dumps(recorded, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    DOCS.write_text(filled(DOCS.read_text(), recorded))
    sys.stdout.write(f"{DOCS}: {len(recorded)} scenarios\n")


if __name__ == "__main__":
    main()
