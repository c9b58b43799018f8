"""What waits for approval, and what approving it writes: pure functions of the set as JSON."""

import json
import re
import secrets
from collections.abc import Iterator
from typing import Any, Final

from fluxbase_migrations.cli.kubectl.layout import fitted, table
from fluxbase_migrations.core.approval import SHORT, approved_digest, files_wait, risks
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.log_lines import plan_line
from fluxbase_migrations.core.names import ANNOTATION_APPROVE, LABEL_RUN, LABEL_TRACK, Approval, Track
from fluxbase_migrations.core.plan import name_of
from fluxbase_migrations.core.plan_digest import recorded
from fluxbase_migrations.core.text import visible

_PREFIX: Final = rf"(?:sha256:)?[0-9a-f]{{{SHORT},64}}"


def waiting(migration_set: Json) -> Json | None:
    """``status.plan``, if it is of the present spec."""
    status = migration_set.get("status", {})
    if status.get("observedGeneration") != migration_set["metadata"].get("generation"):
        return None
    plan: Json | None = status.get("plan")
    return plan


def none_waits(migration_set: Json) -> str:
    """Why there is no plan to be shown or approved."""
    metadata, status = migration_set["metadata"], migration_set.get("status", {})
    name = f"{metadata['namespace']}/{metadata['name']}"
    if migration_set.get("spec", {}).get("approval", Approval.AUTOMATIC) == Approval.AUTOMATIC:
        return (
            f"{name}: nothing waits for approval: spec.approval is Automatic, and changes run at once. To "
            "look ahead, run fluxbase-migrate plan on the files, or set spec.approval: Manual"
        )
    if status.get("observedGeneration") != metadata.get("generation"):
        return f"{name}: the operator has not looked at the present spec yet"
    return f"{name}: nothing waits for approval; the set is {status.get('phase', 'Pending')}"


def heading(migration_set: Json, plan: Json) -> str:
    """The plan in one line."""
    metadata = migration_set["metadata"]
    unknown = 1 if plan.get("unknown") else 0
    summary = risks(plan.get("strongestLock"), plan.get("destructive"), unknown)
    return f"{metadata['namespace']}/{metadata['name']}: {files_wait(plan['count'])} for approval ({summary})"


def render(migration_set: Json, plan: Json, width: int | None) -> list[str]:
    """The plan for a person."""
    rows = [("TRACK", "VERSION", "DIRECTION", "FILE"), *_files(migration_set, plan)]
    return [
        *fitted([visible(heading(migration_set, plan))], width),
        f"digest: {plan['digest']}",
        "",
        *table(rows, width, [3]),
        "",
        *fitted([visible(line) for line in _tracks(migration_set, plan)], width),
    ]


def _plans(migration_set: Json, plan: Json) -> Iterator[tuple[Track, Json]]:
    for track in plan.get("tracks", ()):
        state = migration_set["status"].get("tracks", {}).get(track, {})
        if "plan" in state:
            yield Track(track), state["plan"]


def _files(migration_set: Json, plan: Json) -> Iterator[tuple[str, ...]]:
    for track, track_plan in _plans(migration_set, plan):
        files = track_plan.get("files", [])
        for file in files:
            yield str(track), str(file["version"]), file["direction"], file["name"]
        if (more := track_plan["count"] - len(files)) > 0:
            yield str(track), "", "", f"and {more} more"


def _tracks(migration_set: Json, plan: Json) -> Iterator[str]:
    for track, track_plan in _plans(migration_set, plan):
        start = track_plan.get("start", {})
        before = name_of(recorded(start.get("version")))
        after = name_of(recorded(track_plan.get("toVersion")))
        yield f"{track}: from {before} to {after}; {_known(track_plan)}"
        if "baseline" in track_plan:
            yield f"  first records the baseline, version {track_plan['baseline']}"
        if "failedVersion" in start:
            yield f"  first recovers from version {start['failedVersion']}, which has failed"


def _known(plan: Json) -> str:
    if "destructive" not in plan or "unknown" not in plan:
        return "what the files lock and destroy is unknown"
    parts = ["locks nothing that exists"]
    if "strongestLock" in plan:
        parts = [f"strongest lock {plan['strongestLock']} on {plan.get('locked')}"]
    if plan["destructive"]:
        parts.append(f"{_statements(plan['destructive'])} destructive")
    if plan["unknown"]:
        parts.append(f"{_statements(plan['unknown'])} not known in full")
    return "; ".join(parts)


def _statements(count: int) -> str:
    return "1 statement is" if count == 1 else f"{count} statements are"


def document(migration_set: Json, plan: Json | None) -> Json:
    """The plan for a program; empty if none waits."""
    if plan is None:
        return {}
    return {**plan, "tracks": {str(track): track_plan for track, track_plan in _plans(migration_set, plan)}}


def as_text(body: Json, form: str) -> str:
    """As JSON or YAML."""
    if form == "json":
        return json.dumps(body, indent=4)
    import yaml  # here: few commands print it

    return yaml.safe_dump(body, sort_keys=False, allow_unicode=True).rstrip("\n")


def pod_of(pods: list[Json], migration_set: Json, track: Track) -> Json | None:
    """The pod of the run that made the track's plan."""
    run = migration_set["status"]["tracks"][track].get("run")
    labels = {LABEL_TRACK: str(track), LABEL_RUN: str(run)}
    return next((pod for pod in pods if labels.items() <= pod["metadata"]["labels"].items()), None)


def full_text(log: str, plan: Json) -> list[str] | None:
    """The lines of a plan in its run's log; None if they are of another plan."""
    lines = [line for log_line in log.splitlines() if (line := plan_line(log_line)) is not None]
    return lines if plan["digest"] in log and lines else None


def is_meant(plan: Json, digest: str) -> bool:
    """Whether a digest, or the beginning of one, is the plan's.

    Raises:
        ValueError: it is neither.
    """
    if not re.fullmatch(_PREFIX, digest, re.ASCII):
        raise ValueError(f"{digest!r} is no digest, nor the first {SHORT} or more digits of one")
    digits = str(plan["digest"]).removeprefix("sha256:")
    return digits.startswith(digest.removeprefix("sha256:"))


def approval(migration_set: Json, plan: Json) -> dict[str, Any]:
    """The patch that approves ``plan``, unless the set has changed since it was read."""
    metadata, digest = migration_set["metadata"], str(plan["digest"])
    before = metadata.get("annotations", {}).get(ANNOTATION_APPROVE, "")
    # An unchanged annotation would not be a new approval.
    value = f"{digest}@{secrets.token_hex(4)}" if _digest(before) == digest else digest
    annotations = {ANNOTATION_APPROVE: value}
    return {"metadata": {"resourceVersion": metadata["resourceVersion"], "annotations": annotations}}


def _digest(value: str) -> str | None:
    try:
        return approved_digest(value)
    except ValueError:
        return None
