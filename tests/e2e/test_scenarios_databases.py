"""What is shown, and what is obeyed, belongs to one database; the set may come to another one."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.database import Database
from tests.e2e.harness import MigrationSet, eventually, tables
from tests.e2e.scenarios import Scenario

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NewSet = Callable[..., MigrationSet]
NewScenario = Callable[[str], Scenario]

ADDED = b"INSERT INTO public.t1 VALUES (1);\n"
"""A data migration: a second time would leave a second row."""


def moved(shop: MigrationSet, address: str) -> str:
    """Point the set at the database at ``address`` by another Secret; return the Secret's name."""
    name = f"{shop.secret}-new"
    shop.kube.run("create", "secret", "generic", name, f"--from-literal=url={address}")
    shop.others = {**shop.others, name: "shop-db-new"}
    shop.apply(database={"urlFrom": {"secretKeyRef": {"name": name, "key": "url"}}})
    return name


def command(shop: MigrationSet, name: str) -> dict[str, Any]:
    found: dict[str, Any] = shop.status().get("commands", {}).get(name, {})
    return found


def test_facts_are_shown_only_for_the_database_they_were_read_from(
    new_set: NewSet, new_database: Callable[[], Database], scenario: NewScenario
) -> None:
    shop, other = new_set("moved"), new_database()
    shop.start(tables(1, 2, 3))
    shop.wait("Applied", version=3)
    seen = scenario("spec.database names another database")
    shop.write_config_map(tables(1, 2))
    seen.sees("an older ConfigMap, on the database of before", shop, "AheadOfSource")
    name = moved(shop, other.inside.replace(f"/{other.name}?", "/no_such_database?"))
    seen.sees("another Secret, whose database does not exist", shop, "Unreachable", log=False)
    shop.kube.run("delete", "secret", name)
    shop.kube.run("create", "secret", "generic", name, f"--from-literal=url={other.inside}")
    shop.kube.run("annotate", "fbms", shop.name, "fluxbase.io/requested-at=now")
    shop.database = other
    seen.sees("the Secret is corrected, and kubectl fluxbase retry", shop, "Applied", event="Applied")
    assert shop.database.times_applied() == {"001_t1.up.sql": 1, "002_t2.up.sql": 1}


def test_another_database_behind_the_same_secret_is_told_and_migrated(
    new_set: NewSet, new_database: Callable[[], Database], scenario: NewScenario
) -> None:
    shop, other = new_set("exchanged"), new_database()
    shop.start(tables(1))
    shop.wait("Applied", version=1)
    shop.others = {shop.database.name: "shop"}
    shop.database = other
    shop.write_secret()
    shop.annotate(requested_at="now")
    eventually("the files to be there", lambda: other.row("user") == [(1, False)])
    seen = scenario("The Secret's content names another database")
    seen.sees("and kubectl fluxbase retry", shop, "Applied", event="DatabaseReplaced")
    assert shop.database.times_applied() == {"001_t1.up.sql": 1}


def test_the_routine_look_finds_what_happened_to_the_database(
    new_set: NewSet, made_again: Callable[[Database], None], scenario: NewScenario
) -> None:
    """One minute is the shortest interval; both sets are looked at in the same one."""
    again, marked = new_set("made-again"), new_set("marked")
    again.start(tables(1, 2), verify={"interval": "1m"})
    marked.start(tables(1, 2), verify={"interval": "1m"}, recovery="Manual")
    for shop in (again, marked):
        shop.wait("Applied", version=2)
    made_again(again.database)
    marked.database.query("UPDATE migrations.app SET dirty = true")
    eventually("the files to be there again", lambda: again.database.row("user") == [(2, False)], timeout=150)
    seen = scenario("verify.interval has passed, and meanwhile")
    what = "the database was dropped and made again"
    seen.sees(what, again, "Applied", event="DatabaseReplaced", log=False)
    seen.sees("somebody marked the version dirty; recovery: Manual", marked, "DirtyDatabase")
    assert set(again.database.times_applied().values()) == {1}


def test_an_obeyed_force_is_not_obeyed_again_on_a_restored_database(
    new_set: NewSet, restored: Callable[[Database], Database], scenario: NewScenario
) -> None:
    shop = new_set("force-restored")
    shop.start(tables(1, 2, up2=ADDED))
    shop.wait("Applied", version=2)
    backup = restored(shop.database)
    shop.write_config_map(tables(1, 2, 3, up2=ADDED, up3=b"SELECT no_such_column;\n"))
    shop.wait("Failed", dirty=True)
    shop.annotate(force="user=2@once")
    eventually("the force to be obeyed", lambda: command(shop, "force").get("state") == "Obeyed")
    shop.wait("Failed", dirty=True, version=3)
    shop.kube.run("annotate", "fbms", shop.name, "fluxbase.io/force-")
    shop.database.query("DROP TABLE public.t1")
    shop.write_config_map(tables(1, 2, 3, up2=ADDED))
    shop.wait("Applied", version=3)
    shop.database = backup
    moved(shop, backup.inside)
    shop.wait("Applied", version=3)
    seen = scenario("A force was obeyed, then the set is pointed at a restored backup")
    seen.sees("the annotation had been removed", shop, "Applied", event="Applied")
    assert command(shop, "force")["state"] == "Obeyed"
    assert backup.query("SELECT count(*) FROM public.t1") == [(1,)], "002 ran once, before the backup"
    assert backup.query("SELECT count(*) FROM migrations.history WHERE kind = 'force'") == [(0,)]


def test_a_command_for_another_database_is_refused(
    new_set: NewSet, restored: Callable[[Database], Database], scenario: NewScenario
) -> None:
    shop = new_set("force-waits")
    shop.start(tables(1, 2))
    shop.wait("Applied", version=2)
    shop.apply(suspend=True)
    shop.annotate(force="user=1@redo")
    eventually("the command to be shown", lambda: command(shop, "force").get("state") == "Waiting")
    seen = scenario("A command waits")
    seen.sees("suspend: true, then fluxbase.io/force=user=1@redo", shop, "Applied", event="Forced")
    assert command(shop, "force")["message"] == "spec.suspend is true"
    backup = restored(shop.database)
    shop.database = backup
    moved(shop, backup.inside)
    eventually("the command to be refused", lambda: command(shop, "force").get("state") == "Refused")
    seen.sees("spec.database is changed", shop, "Suspended", event="CommandRefused", log=False)
    shop.apply(suspend=None)
    shop.wait("Applied", version=2)
    assert backup.query("SELECT count(*) FROM migrations.history WHERE kind = 'force'") == [(0,)]
