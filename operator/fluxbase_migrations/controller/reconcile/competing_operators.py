"""Two installations that are responsible for one set: who finds a Job of the other one steps back.

A Job says which installation made it. An unfinished one of another installation that goes by our name means
that both watch this namespace. Its creator continues. The other one defers until that Job has ended, and
marks the Job, so that the creator reports the conflict, too.
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

"""Reason of the Events about it."""
_INSTALLATION: Final = re.compile(r"[-a-z0-9.]{1,253}/[-a-z0-9.]{1,253}", re.ASCII)


@dataclass(frozen=True, slots=True)
class CompetingOperator:
    """Another installation, by a Job on our set."""

    installation: str
    job: str
    """The Job's name."""
    steps_back: bool
    """It has stepped back, and we go on; otherwise we step back."""
    marked: bool = False
    """The Job says already that we have stepped back."""

    def note(self, settings: Settings, namespace: str) -> EventNote:
        """The Event about it."""
        own, other = f"operator {settings.installation}", f"operator {self.installation}"
        advice = (
            "Give each installation an operatorName of its own, and name one in spec.operator; or let them "
            "watch different namespaces."
        )
        if self.steps_back:
            return EventNote(
                True,
                EventReason.OPERATOR_CONFLICT,
                f"{other} watches this set, too, and leaves it to {own}. {advice}",
            )
        gone = f"If {self.installation} does not exist any more: kubectl delete job {self.job} -n {namespace}"
        return EventNote(
            True,
            EventReason.OPERATOR_CONFLICT,
            f"{other} runs the Job {self.job} for this set; {own} leaves the set to it. {advice} {gone}",
        )


def responsible(body: Json, settings: Settings) -> bool:
    """Whether the set names this operator as the one that is to look after it."""
    named: str = (body.get("spec") or {}).get("operator", "")
    return named == settings.operator_name


def find(bodies: Iterable[Json], settings: Settings) -> CompetingOperator | None:
    """The rival on a set, by its unfinished Jobs; one that we must step back for comes first."""
    rivals = [rival for body in bodies if (rival := _rival(body, settings))]
    return min(rivals, key=lambda one: one.steps_back, default=None)


def _rival(job: Json, settings: Settings) -> CompetingOperator | None:
    annotations = job["metadata"].get("annotations") or {}
    maker, name = annotations.get(ANNOTATION_OPERATOR), job["metadata"]["name"]
    contested = annotations.get(ANNOTATION_CONTESTED)
    if maker == settings.installation:
        return CompetingOperator(contested, name, steps_back=True) if _is_installation(contested) else None
    # A Job of an installation by another name was made when spec.operator named that one.
    same_name = annotations.get(ANNOTATION_OPERATOR_NAME, "") == settings.operator_name
    if not same_name or not _is_installation(maker):
        return None
    return CompetingOperator(maker, name, steps_back=False, marked=contested == settings.installation)


def _is_installation(text: Any) -> TypeGuard[str]:
    """Annotations are anybody's text."""
    return isinstance(text, str) and _INSTALLATION.fullmatch(text) is not None
