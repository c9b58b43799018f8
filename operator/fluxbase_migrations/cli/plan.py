"""``fluxbase-migrate plan``: what would run now, for people and for programs."""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from fluxbase_migrations.cli import output, rehearsal
from fluxbase_migrations.cli.wrapping import wrapped
from fluxbase_migrations.core.errors import describe
from fluxbase_migrations.core.files import MigrationFiles
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.runner.lookahead.effect import Effect, Relation, State, Touch, Work

if TYPE_CHECKING:
    from fluxbase_migrations.runner.commands.verbs import Setup
    from fluxbase_migrations.runner.lookahead.pending import FilePlan, StatementPlan, TrackPlan
    from fluxbase_migrations.runner.lookahead.rehearsal import Rehearsal

PENDING: Final = 2
"""Exit code of ``--detailed-exitcode`` where something is to run, as terraform's."""
_ALIKE: Final = 3
"""So many relations that are locked in the same way, like partitions, are shown one by one."""


def plan(setup: "Setup", tracks: list[tuple[Track, MigrationFiles]], given: argparse.Namespace) -> int:
    """Look ahead, and print what was seen; returns the exit code."""
    from fluxbase_migrations.runner.lookahead.pending import Target, pending

    planned = pending(setup, tracks, Target(given.count, given.to))
    if given.rehearse is None or not any(track.files for track in planned):
        return show(planned, given.form, detailed=given.detailed_exitcode)
    if any(track.failed or track.row.dirty for track in planned):
        setup.log.error("not rehearsed: the database itself would refuse the files, or its version is dirty")
        return show(planned, given.form, detailed=False) or 1
    from fluxbase_migrations.runner.lookahead.rehearsal import rehearse

    seen = rehearse(setup, _copy(setup, given.rehearse), planned, [source for _, source in tracks])
    return show(planned, given.form, detailed=given.detailed_exitcode, seen=seen)


def _copy(setup: "Setup", url: str) -> "Setup":
    """The same settings on the database of ``url``."""
    from fluxbase_migrations.runner.connection import dsn

    read = dsn.read({}, url)
    before = setup.settings
    settings = read.settings(before.statement_timeout, before.ddl_lock_timeout, before.connect_patience)
    hidden = [*setup.hidden, *read.hidden]
    return replace(setup, parameters=read.parameters, hidden=hidden, settings=settings)


def show(tracks: Sequence["TrackPlan"], form: str, *, detailed: bool, seen: "Rehearsal | None" = None) -> int:
    """Print the plan; 1 where a run would be refused, else 0, or :data:`PENDING` if that is asked for."""
    code = output.answer([_json(tracks, seen)] if form == "json" else _lines(tracks, seen))
    if code or any(track.failed for track in tracks) or (seen is not None and seen.failed):
        return 1
    return PENDING if detailed and any(track.files for track in tracks) else 0


def _lines(tracks: Sequence["TrackPlan"], seen: "Rehearsal | None") -> Iterator[str]:
    yield from _text(tracks)
    if seen is not None:
        yield from rehearsal.text(seen, tracks)


def _text(tracks: Sequence["TrackPlan"]) -> Iterator[str]:
    for track in tracks:
        yield from wrapped(_headline(track), 0)
        for warning in track.warnings:
            yield from wrapped(f"warning: {warning}", 2)
        if track.error is not None:
            yield from wrapped(f"error: {describe(track.error)}", 2)
    for track in tracks:
        for file in track.files:
            yield ""
            yield from _file(file)
    yield from _summary(tracks)


def _headline(track: "TrackPlan") -> str:
    version = "no version" if track.row.version < 0 and not track.row.dirty else f"version {track.row}"
    count = len(track.files)
    pending = (
        "nothing pending" if count == 0 else "1 file pending" if count == 1 else f"{count} files pending"
    )
    return f"{track.label} ({track.table}): {version}, {pending}"


def _file(file: "FilePlan") -> Iterator[str]:
    groups = max((one.group for one in file.statements), default=1)
    how = "atomic" if file.atomic else f"{groups} transaction{'s' if groups > 1 else ''}"
    if file.step.file is None:
        how = "only the version moves"
    yield from wrapped(f"{file.step.label}: {how}" + (f" ({file.why})" if file.why else ""), 0)
    if file.dirty:
        yield from wrapped("dirty: it failed before; what of it runs depends on --recovery", 2)
    if not file.has_down:
        yield from wrapped("no down file: it cannot be rolled back", 2)
    if file.error is not None:
        yield from wrapped(f"error: {describe(file.error)}", 2)
    plain: list[StatementPlan] = []
    for one in file.statements:
        if _is_plain(one.effect):
            plain.append(one)
            continue
        yield from _plain(plain)
        plain = []
        transaction = "" if file.atomic else f", transaction {one.group}"
        yield from wrapped(f"{one.number} {one.effect.tag} (line {one.line}{transaction})", 2)
        yield from _effect(one.effect)
    yield from _plain(plain)


def _is_plain(effect: Effect) -> bool:
    """Whether it touches nothing that is there, and there is nothing to say of it."""
    new = all(touch.relation.state is State.NEW for touch in effect.touches)
    return new and not (effect.destructive or effect.unknown or effect.notes)


def _plain(statements: Sequence["StatementPlan"]) -> Iterator[str]:
    if not statements:
        return
    first, last = statements[0].number, statements[-1].number
    tags = Counter(one.effect.tag for one in statements)
    listed = ", ".join(tag if count == 1 else f"{count} {tag}" for tag, count in tags.items())
    which = f"{first}" if first == last else f"{first} to {last}"
    yield from wrapped(f"{which} {listed}: locks nothing that exists", 2)


def _effect(effect: Effect) -> Iterator[str]:
    alike: dict[tuple[object, ...], list[Touch]] = {}
    for touch in effect.touches:
        alike.setdefault((touch.lock, touch.work, touch.certain, touch.why), []).append(touch)
    for touches in alike.values():
        for touch in touches[:_ALIKE]:
            yield from wrapped(_touch(touch), 4)
        if more := touches[_ALIKE:]:
            size = sum(touch.relation.bytes or 0 for touch in more)
            yield from wrapped(f"and {len(more)} more in the same way, {_bytes(size)} together", 4)
    for word, texts in (
        ("DESTROYS", effect.destructive),
        ("UNKNOWN", effect.unknown),
        ("note", effect.notes),
    ):
        for text in texts:
            yield from wrapped(f"{word}: {text}", 4)


def _touch(touch: Touch) -> str:
    why = f" ({touch.why})" if touch.why else ""
    if touch.relation.state is State.NEW:
        return f"{touch.relation.name}: new{why}"
    lock = f"{touch.lock}, blocks {', '.join(touch.lock.blocks)}"
    work = "" if touch.work in (Work.CATALOG, Work.ROWS) else f"; {touch.work}"
    perhaps = "" if touch.certain else "perhaps "
    return f"{touch.relation.name}{_size(touch.relation)}: {perhaps}{lock}{work}{why}"


def _size(relation: Relation) -> str:
    if relation.state is State.UNKNOWN:
        return f" [{relation.state}]"
    parts = [] if relation.bytes is None else [_bytes(relation.bytes)]
    if relation.rows is not None and relation.bytes is not None:
        parts.append(f"~{relation.rows} rows")
    return f" [{', '.join(parts)}]" if parts else ""


def _bytes(size: int) -> str:
    """As ``pg_size_pretty`` has it."""
    number, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 10240:
            break
        number, unit = number / 1024, larger
    return f"{number:.0f} {unit}"


def _summary(tracks: Sequence["TrackPlan"]) -> Iterator[str]:
    every = [(file, one) for track in tracks for file in track.files for one in file.statements]
    if not every:
        return
    yield ""
    worst = _worst(every)
    if worst is not None:
        file, one, touch = worst
        where = f"{file.step.label}, statement {one.number}"
        yield from wrapped(f"strongest lock: {touch.lock} on {touch.relation.name} ({where})", 0)
    for what, count in (
        ("rewritten", _count(every, Work.REWRITE)),
        ("scanned", _count(every, Work.SCAN)),
    ):
        if count:
            yield f"{count} {'relation is' if count == 1 else 'relations are'} {what}"
    for what, count in (
        ("destructive", sum(bool(one.effect.destructive) for _, one in every)),
        ("not known in full", sum(bool(one.effect.unknown) for _, one in every)),
    ):
        if count:
            yield f"{count} of {len(every)} statements {'is' if count == 1 else 'are'} {what}"


def _worst(
    every: Sequence[tuple["FilePlan", "StatementPlan"]],
) -> tuple["FilePlan", "StatementPlan", Touch] | None:
    touches = [
        (file, one, touch)
        for file, one in every
        for touch in one.effect.touches
        if touch.relation.state is State.EXISTS
    ]
    key = lambda each: (each[2].lock.strength, each[2].work.grade, each[2].relation.bytes or 0)  # noqa: E731
    return max(touches, key=key, default=None)


def _count(every: Sequence[tuple["FilePlan", "StatementPlan"]], work: Work) -> int:
    return len(
        {
            touch.relation.name
            for _, one in every
            for touch in one.effect.touches
            if touch.work is work and touch.relation.state is State.EXISTS
        }
    )


def _json(tracks: Sequence["TrackPlan"], seen: "Rehearsal | None") -> str:
    every = [(file, one) for track in tracks for file in track.files for one in file.statements]
    worst = _worst(every)
    document: dict[str, Any] = {
        "pending": sum(len(track.files) for track in tracks),
        "strongestLock": worst[2].lock.value if worst else None,
        "destructive": any(one.effect.destructive for _, one in every),
        "unknown": any(one.effect.unknown for _, one in every),
        "tracks": [_track(track) for track in tracks],
    }
    if seen is not None:
        document["rehearsal"] = rehearsal.as_json(seen, tracks)
    return json.dumps(document, indent=2, ensure_ascii=False)


def _track(track: "TrackPlan") -> dict[str, Any]:
    return {
        "track": track.label,
        "table": str(track.table),
        "version": None if track.row.version < 0 else track.row.version,
        "dirty": track.row.dirty,
        "warnings": list(track.warnings),
        "error": describe(track.error) if track.error else None,
        "files": [_file_json(file) for file in track.files],
    }


def _file_json(file: "FilePlan") -> dict[str, Any]:
    return {
        "version": file.step.version,
        "file": file.step.file.name if file.step.file else None,
        "direction": file.step.direction.value,
        "checksum": file.step.file.checksum if file.step.file else None,
        "atomic": file.atomic,
        "why": file.why,
        "dirty": file.dirty,
        "hasDownFile": file.has_down,
        "error": describe(file.error) if file.error else None,
        "statements": [_statement_json(one) for one in file.statements],
    }


def _statement_json(one: "StatementPlan") -> dict[str, Any]:
    return {
        "number": one.number,
        "line": one.line,
        "transaction": one.group,
        "tag": one.effect.tag,
        "relations": [_touch_json(touch) for touch in one.effect.touches],
        "destructive": list(one.effect.destructive),
        "unknown": list(one.effect.unknown),
        "notes": list(one.effect.notes),
    }


def _touch_json(touch: Touch) -> dict[str, Any]:
    return {
        "relation": touch.relation.name,
        "state": touch.relation.state.value,
        "bytes": touch.relation.bytes,
        "rows": touch.relation.rows,
        "lock": touch.lock.value,
        "blocks": [one.value for one in touch.lock.blocks],
        "work": touch.work.name.lower().replace("_", "-"),
        "certain": touch.certain,
        "why": touch.why,
    }
