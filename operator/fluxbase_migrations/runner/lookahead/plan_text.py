"""``fluxbase-migrate plan``, as people read it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from fluxbase_migrations.core.errors import describe
from fluxbase_migrations.runner.lookahead.effect import Effect, Relation, State, Touch, Work
from fluxbase_migrations.runner.lookahead.pending import FilePlan, StatementPlan, TrackPlan
from fluxbase_migrations.runner.lookahead.summary import summary
from fluxbase_migrations.runner.lookahead.wrapping import wrapped

_ALIKE: Final = 3
"""So many relations that are locked in the same way, like partitions, are shown one by one."""


def lines(tracks: Sequence[TrackPlan]) -> Iterator[str]:
    """The tracks in a line each, their files, and a summary."""
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


def _headline(track: TrackPlan) -> str:
    version = "no version" if track.row.version < 0 and not track.row.dirty else f"version {track.row}"
    count = len(track.files)
    pending = (
        "nothing pending" if count == 0 else "1 file pending" if count == 1 else f"{count} files pending"
    )
    return f"{track.label} ({track.table}): {version}, {pending}"


def _file(file: FilePlan) -> Iterator[str]:
    groups = max((statement.group for statement in file.statements), default=1)
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
    for statement in file.statements:
        effect = statement.effect
        if _is_plain(effect):
            plain.append(statement)
            continue
        yield from _plain(plain)
        plain = []
        transaction = "" if file.atomic else f", transaction {statement.group}"
        yield from wrapped(f"{statement.number} {effect.tag} (line {statement.line}{transaction})", 2)
        yield from _effect(effect)
    yield from _plain(plain)


def _is_plain(effect: Effect) -> bool:
    """Whether it touches nothing that is there, and there is nothing to say of it."""
    new = all(touch.relation.state is State.NEW for touch in effect.touches)
    return new and not (effect.destructive or effect.unknown or effect.notes)


def _plain(statements: Sequence[StatementPlan]) -> Iterator[str]:
    if not statements:
        return
    first, last = statements[0].number, statements[-1].number
    tags = Counter(statement.effect.tag for statement in statements)
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


def _summary(tracks: Sequence[TrackPlan]) -> Iterator[str]:
    totals = summary(tracks)
    if not totals.statements:
        return
    yield ""
    if (strongest := totals.strongest) is not None:
        touch, where = strongest.touch, f"{strongest.file.step.label}, statement {strongest.statement.number}"
        yield from wrapped(f"strongest lock: {touch.lock} on {touch.relation.name} ({where})", 0)
    for what, count in (("rewritten", totals.rewritten), ("scanned", totals.scanned)):
        if count:
            yield f"{count} {'relation is' if count == 1 else 'relations are'} {what}"
    for what, count in (("destructive", totals.destructive), ("not known in full", totals.unknown)):
        if count:
            yield f"{count} of {totals.statements} statements {'is' if count == 1 else 'are'} {what}"
