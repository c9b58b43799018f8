"""Do the tests bite? Changes what is pure in small ways, and runs the unit tests for each: ``make mutants``.

A sample is drawn from all changes that cosmic-ray can make, by a seed that is printed. A change that no test
notices survives; it is listed with its place. It works in a copy of the last commit.
"""

import argparse
import io
import json
import random
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = "operator/fluxbase_migrations"
PURE: Final = (
    f"{PACKAGE}/core",
    f"{PACKAGE}/decisions",
    f"{PACKAGE}/api/commands.py",
    f"{PACKAGE}/api/conditions.py",
    f"{PACKAGE}/api/reasons.py",
)
"""What has tables of cases: what is decided from what was observed, and what both programs share."""
TESTS: Final = (
    "tests/unit",
    "--ignore=tests/unit/test_reconcile_machine.py",
    "--ignore=tests/unit/test_lease.py",
)
"""What is quick enough to be run hundreds of times."""
NO_CHANGE: Final = ("core/ReplaceBinaryOperator_BitOr_", "core/RemoveDecorator", "core/AddNot_Annotation")
"""Operators whose changes mean nothing here: ``str | None`` is an annotation."""
TIMEOUT: Final = 120.0
"""Seconds for one run of the tests; a change that makes them hang has been noticed."""


def main() -> int:
    """Try a sample and print what survived."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.mutants")
    parser.add_argument(
        "--count", type=int, default=200, help="how many changes to try (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeats a sample")
    parser.add_argument("--module", default="", help="only this module, like decisions/track.py")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        copy = Path(directory)
        _copy(copy)
        _write_config(copy, (f"{PACKAGE}/{options.module}",) if options.module else PURE)
        _cosmic_ray(copy, "init", "mutants.toml", "session.sqlite")
        chosen = _draw(copy / "session.sqlite", options.count, options.seed)
        sys.stdout.write(f"{chosen} changes, seed {options.seed}\n")
        sys.stdout.flush()
        _cosmic_ray(copy, "exec", "mutants.toml", "session.sqlite")
        return _report(copy / "session.sqlite")


def _copy(directory: Path) -> None:
    packed = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(directory, filter="data")


def _write_config(directory: Path, paths: Sequence[str]) -> None:
    command = " ".join([sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *TESTS])
    (directory / "mutants.toml").write_text(
        f"""[cosmic-ray]
module-path = {json.dumps(list(paths))}
timeout = {TIMEOUT}
test-command = "{command}"
[cosmic-ray.distributor]
name = "local"
"""
    )


def _cosmic_ray(directory: Path, *arguments: str) -> None:
    program = Path(sys.executable).with_name("cosmic-ray")
    subprocess.run([program, *arguments], cwd=directory, check=True)


def _draw(session: Path, count: int, seed: int) -> int:
    """Leave a sample in the session; returns its size."""
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import WorkerOutcome, WorkResult

    with use_db(str(session), WorkDB.Mode.open) as work:
        items = sorted(work.work_items, key=lambda item: str(item.mutations))
        useful = [item for item in items if not item.mutations[0].operator_name.startswith(NO_CHANGE)]
        sample = random.Random(seed).sample(useful, min(count, len(useful)))
        kept = {item.job_id for item in sample}
        left = [item.job_id for item in items if item.job_id not in kept]
        work.set_multiple_results(left, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))
        return len(sample)


def _report(session: Path) -> int:
    """Print the score and the survivors; 1 if the tests cannot have been run at all."""
    from cosmic_ray.work_db import WorkDB, use_db

    with use_db(str(session), WorkDB.Mode.open) as work:
        tried: list[tuple[Any, Any]] = [
            (item, result) for item, result in work.completed_work_items if result.test_outcome is not None
        ]
    outcomes = Counter(str(result.test_outcome.value) for _, result in tried)
    survived = [(item, result) for item, result in tried if not result.is_killed]
    for item, result in survived:
        (change,) = item.mutations
        place = f"{change.module_path}:{change.start_pos[0]}"
        lines = [
            line
            for line in (result.diff or "").splitlines()
            if line[:1] in "+-" and line[:3] not in ("+++", "---")
        ]
        sys.stdout.write("\n".join([f"survived: {place} {change.operator_name}", *lines]) + "\n")
    noticed = len(tried) - len(survived)
    sys.stdout.write(f"{noticed} of {len(tried)} changes were noticed; {dict(outcomes)}\n")
    return 0 if tried else 1


if __name__ == "__main__":
    sys.exit(main())
