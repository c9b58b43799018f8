"""Many sets at once on the cluster, each with a database of its own, beside Jobs that do nothing."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from bench.latency.trials import USER_FILES, Stage, applied, complete
from tests.e2e.conftest import a_set
from tests.e2e.harness import SHOP, files

IN_ONE_REQUEST = 25
"""Objects that one kubectl applies."""


@dataclass(frozen=True)
class Many:
    """Times are seconds from the first kubectl's start, in order."""

    applied: Sequence[float]
    """Of each set."""
    nothing: Sequence[float]
    """Until each Job that does nothing was Complete; all are created at once."""

    def sentence(self) -> str:
        """The result for the report."""
        whole = self.applied[-1]
        return (
            f"{len(self.applied)} sets at once: first Applied after {self.applied[0]:.1f} s, "
            f"all after {whole:.1f} s, mean {mean(self.applied) / whole:.2f} of that. "
            f"{len(self.nothing)} Jobs that do nothing: "
            f"{self.nothing[-1]:.1f} s (ratio {whole / self.nothing[-1]:.2f})."
        )


async def measure(stage: Stage, count: int) -> Many:
    """One batch of sets and one of Jobs, each followed by a pause until nothing of it is left."""
    await stage.settle()
    sets = await _sets(stage, count)
    stage.watches.forget()
    await stage.settle()
    jobs = await _nothing(stage, 2 * count)
    stage.watches.forget()
    return Many(sets, jobs)


async def _sets(stage: Stage, count: int) -> list[float]:
    with contextlib.ExitStack() as stack:
        sets = [
            stack.enter_context(a_set(stage.cluster, stage.kube, f"many-{number}", stage.scratch))
            for number in range(count)
        ]
        for migration_set in sets:
            await asyncio.to_thread(migration_set.write_secret)
            await asyncio.to_thread(migration_set.write_config_map, files(SHOP), True)
        documents = [migration_set.document() for migration_set in sets]
        began = time.monotonic()
        await _apply(stage, documents)
        ends = await asyncio.gather(
            *(
                stage.watches.until(
                    f"{migration_set.name} to be Applied", "set", applied(migration_set, USER_FILES), began
                )
                for migration_set in sets
            )
        )
        return sorted(end.at - began for end in ends)


async def _nothing(stage: Stage, count: int) -> list[float]:
    names = [f"nothing-{number}-{secrets.token_hex(3)}" for number in range(count)]
    documents = [stage.job(name) for name in names]
    began = time.monotonic()
    await _apply(stage, documents)
    ends = await asyncio.gather(
        *(stage.watches.until(f"{name} to be Complete", "job", complete(name), began) for name in names)
    )
    await asyncio.to_thread(stage.kube.run, "delete", "job", *names, "--cascade=foreground", "--wait")
    return sorted(end.at - began for end in ends)


async def _apply(stage: Stage, documents: Sequence[dict[str, object]]) -> None:
    for first in range(0, len(documents), IN_ONE_REQUEST):
        await asyncio.to_thread(stage.kube.apply, *documents[first : first + IN_ONE_REQUEST])
