"""What is gathered about one statement while its parse tree is read."""

from collections.abc import Iterable
from dataclasses import field

from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.lookahead.effect import Effect, Touch, Work, merged
from fluxbase_migrations.runner.lookahead.facts import CatalogRelation, Facts
from fluxbase_migrations.runner.lookahead.modes import Lock
from fluxbase_migrations.runner.lookahead.tree import Name


@dataclass(slots=True)
class Findings:
    """What one statement does, on the catalog as the statements before it leave it."""

    facts: Facts
    touches: list[Touch] = field(default_factory=list)
    destructive: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def version(self) -> int:
        """The server's major version."""
        return self.facts.version

    def touch(
        self, name: Name, lock: Lock, work: Work = Work.CATALOG, *, certain: bool = True, why: str = ""
    ) -> CatalogRelation | None:
        """The statement locks what this name means; returns it if it is known."""
        if not name or self.facts.is_system(name):
            return None
        relation = self.facts.find(name)
        if relation is not None:
            self.lock(relation, lock, work, certain=certain, why=why)
            return relation
        self.touches.append(Touch(self.facts.named(name), lock, work, certain, why))
        return None

    def lock(
        self,
        relation: CatalogRelation,
        lock: Lock,
        work: Work = Work.CATALOG,
        *,
        certain: bool = True,
        why: str = "",
    ) -> None:
        """The statement locks this relation."""
        self.touches.append(Touch(self.facts.described(relation), lock, work, certain, why))

    def lock_all(
        self, oids: Iterable[int], lock: Lock, work: Work = Work.CATALOG, *, certain: bool = True, why: str
    ) -> None:
        """The statement locks these relations, too."""
        for oid in oids:
            if oid in self.facts.relations:
                self.lock(self.facts.relations[oid], lock, work, certain=certain, why=why)

    def lose(self, relation: CatalogRelation | None, what: str) -> None:
        """Note what of a relation is lost for good, unless the plan itself created it."""
        if relation is None or not relation.is_new:
            self.destructive.append(what)

    def effect(self, tag: str) -> Effect:
        """The effect of the statement, each thing once."""
        return Effect(
            tag,
            merged(self.touches),
            tuple(dict.fromkeys(self.destructive)),
            tuple(dict.fromkeys(self.unknown)),
            tuple(dict.fromkeys(self.notes)),
        )
