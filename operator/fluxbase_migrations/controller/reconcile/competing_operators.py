"""Two installations that are responsible for one set: the one that finds a Job of the other steps back.

A Job names the installation that created it. An unfinished Job of another installation with the same operator
name means that both watch this namespace. Its creator continues. The other installation leaves the set alone
until that Job has ended, and marks the Job, so that the creator reports the conflict, too.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from fluxbase_migrations.api.reasons import EventReason
from fluxbase_migrations.controller.process.settings import Settings
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import (
    ANNOTATION_CONTESTED,
    ANNOTATION_OPERATOR,
    ANNOTATION_OPERATOR_NAME,
)
from fluxbase_migrations.decisions.desired import EventNote

_INSTALLATION: Final = re.compile(r"[-a-z0-9.]{1,253}/[-a-z0-9.]{1,253}", re.ASCII)


@dataclass(frozen=True, slots=True)
class CompetingOperator:
    """Another installation that is responsible for our set, and the Job that shows it."""

    installation: str
    job: str
    """The Job's name."""
    steps_back: bool
    """The other installation has stepped back, and this one continues; otherwise the reverse."""
    marked: bool = False
    """The Job is already marked with this installation."""

    def note(self, settings: Settings, namespace: str) -> EventNote:
        """The Event that reports the conflict on a set in ``namespace``."""
        own, competitor = f"operator {settings.installation}", f"operator {self.installation}"
        advice = (
            "Give each installation an operatorName of its own, and name one in spec.operator; or let them "
            "watch different namespaces."
        )
        if self.steps_back:
            return EventNote(
                True,
                EventReason.OPERATOR_CONFLICT,
                f"{competitor} watches this set, too, and leaves it to {own}. {advice}",
            )
        if_gone = (
            f"If {self.installation} does not exist any more: kubectl delete job {self.job} -n {namespace}"
        )
        return EventNote(
            True,
            EventReason.OPERATOR_CONFLICT,
            f"{competitor} runs the Job {self.job} for this set; {own} leaves the set to it. "
            f"{advice} {if_gone}",
        )


def responsible(body: Json, settings: Settings) -> bool:
    """Whether this operator is responsible for the set, by its ``spec.operator``."""
    named: str = (body.get("spec") or {}).get("operator", "")
    return named == settings.operator_name


def find(bodies: Iterable[Json], settings: Settings) -> CompetingOperator | None:
    """The competitor on a set, by its unfinished Jobs; first of all one that has not stepped back."""
    competitors = [competitor for body in bodies if (competitor := _competitor(body, settings))]
    return min(competitors, key=lambda competitor: competitor.steps_back, default=None)


def _competitor(job: Json, settings: Settings) -> CompetingOperator | None:
    annotations = job["metadata"].get("annotations") or {}
    creator, name = annotations.get(ANNOTATION_OPERATOR), job["metadata"]["name"]
    contested = annotations.get(ANNOTATION_CONTESTED)
    if creator == settings.installation:
        return CompetingOperator(contested, name, steps_back=True) if _is_installation(contested) else None
    # A Job of an installation with another name was created when spec.operator had that name.
    same_name = annotations.get(ANNOTATION_OPERATOR_NAME, "") == settings.operator_name
    if not same_name or not _is_installation(creator):
        return None
    return CompetingOperator(creator, name, steps_back=False, marked=contested == settings.installation)


def _is_installation(text: Any) -> TypeGuard[str]:
    """Whether an annotation names an installation: it is untrusted text."""
    return isinstance(text, str) and _INSTALLATION.fullmatch(text) is not None
