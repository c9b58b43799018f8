"""Whose database it is: split, moved, and handed over on purpose, as docs/resource.md says."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping

import pytest

from fluxbase_migrations.core.job import JobSpec, SetRef
from fluxbase_migrations.core.names import ENV_JOB, Track
from fluxbase_migrations.runner.commands.job import ENV_TERMINATION_LOG
from tests.e2e.harness import MigrationSet, fluxbase, tables
from tests.e2e.scenarios import Scenario

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NewSet = Callable[..., MigrationSet]
NewScenario = Callable[[str], Scenario]


def same_database(first: MigrationSet, second: MigrationSet) -> None:
    """Give the second set the first one's database, and files of its own."""
    second.database, second.others = first.database, {first.name: "first"}
    second.write_secret()


def test_one_set_is_split_in_two(new_set: NewSet, scenario: NewScenario) -> None:
    both, users = new_set("both"), new_set("users")
    both.write_secret()
    both.write_config_map(tables(1), create=True)
    both.set_user(system=True)
    both.wait("Applied", version=1)
    same_database(both, users)
    users.write_config_map(tables(1, 2), create=True)
    users.set_user()
    seen = scenario("One set is split in two")
    seen.sees("a second set for the user track", users, "DatabaseClaimed")
    both.apply(tracks={"system": {}})
    seen.sees("the first one's user track has no source any more", users, "Applied", event="TakingOver")
    both.wait("Applied")
    assert users.database.times_applied() == {"001_t1.up.sql": 1, "002_t2.up.sql": 1}


def test_a_set_moves_to_another_namespace(
    new_set: NewSet, new_set_elsewhere: NewSet, scenario: NewScenario
) -> None:
    old, new = new_set("old"), new_set_elsewhere("new")
    old.start(tables(1))
    old.wait("Applied", version=1)
    same_database(old, new)
    new.others |= {old.kube.namespace: "before"}
    new.write_config_map(tables(1, 2), create=True)
    new.set_user()
    seen = scenario("A set moves to another namespace")
    seen.sees("the new one", new, "DatabaseClaimed")
    old.delete()
    seen.sees("the old one is deleted", new, "Applied", event="TakingOver")
    assert new.database.times_applied() == {"001_t1.up.sql": 1, "002_t2.up.sql": 1}


def test_a_database_is_handed_over_on_purpose(new_set: NewSet, scenario: NewScenario) -> None:
    first, second = new_set("first"), new_set("second")
    first.start(tables(1))
    first.wait("Applied", version=1)
    same_database(first, second)
    second.write_config_map(tables(1, 2), create=True)
    second.set_user()
    second.wait("Failed", reason="DatabaseClaimed")
    assert "asked to take the user track over from" in fluxbase(second, "take-over")
    seen = scenario("A database is handed over on purpose")
    seen.sees(
        "kubectl fluxbase take-over, on the set that is to own it", second, "Applied", event="TakenOver"
    )
    first.others = {second.name: "second"}
    seen.sees("the set that owned it", first, "DatabaseClaimed", log=False)
    assert second.database.times_applied() == {"001_t1.up.sql": 1, "002_t2.up.sql": 1}


def test_a_set_is_installed_again_in_a_new_cluster(new_set: NewSet, scenario: NewScenario) -> None:
    """The old cluster is a run of ours that names another cluster; nobody here can look its set up."""
    shop = new_set("new-cluster")
    owner = SetRef(str(uuid.uuid4()), "production", "shop", cluster=str(uuid.uuid4()))
    run_elsewhere(shop, owner, tables(1))
    assert shop.database.row("user") == [(1, False)]
    shop.start(tables(1, 2))
    seen = scenario("A set is installed again in a new cluster")
    seen.sees("the set is created there", shop, "DatabaseClaimed")
    assert shop.database.row("user") == [(1, False)]
    fluxbase(shop, "take-over")
    seen.sees("kubectl fluxbase take-over", shop, "Applied", event="TakenOver")
    assert shop.database.times_applied() == {"001_t1.up.sql": 1, "002_t2.up.sql": 1}


def run_elsewhere(shop: MigrationSet, owner: SetRef, content: Mapping[str, bytes]) -> None:
    """What the Job of a set in another cluster does."""
    directory = shop.scratch / "elsewhere"
    directory.mkdir()
    for name, data in content.items():
        (directory / name).write_bytes(data)
    spec = JobSpec(owner, Track.USER, 1, paths=(str(directory),))
    subprocess.run(
        [sys.executable, "-m", "fluxbase_migrations.runner"],
        env={
            **os.environ,
            ENV_JOB: spec.to_json(),
            ENV_TERMINATION_LOG: str(shop.scratch / "result"),
            "DATABASE_URL": shop.database.dsn,
        },
        check=True,
        timeout=60,
    )
