"""The main job on a real cluster: from `kubectl apply` to Applied, and what must not start a Job."""

import json
from collections.abc import Callable

import psycopg
import pytest

from tests.e2e.harness import FAILURE, FIXED, SHOP, SYSTEM_LATEST, Kube, MigrationSet, eventually, files

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NewSet = Callable[..., MigrationSet]


def applied(shop: MigrationSet) -> MigrationSet:
    """Bring the shop example to Applied."""
    shop.write_secret()
    shop.write_config_map(files(SHOP), create=True)
    shop.apply()
    shop.wait("Applied", version=4)
    return shop


def as_claimed(shop: MigrationSet, role: str, statement: str) -> list[tuple[object, ...]]:
    """Run a statement as `authenticated` with a role claim, as the platform does for a request."""
    with psycopg.connect(shop.database.admin_dsn) as connection:
        connection.execute("SELECT set_config('request.jwt.claims', %s, true)", [json.dumps({"role": role})])
        connection.execute("SET LOCAL ROLE authenticated")
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else [(cursor.rowcount,)]


def test_the_shop_example_is_applied_and_kubectl_shows_it(new_set: NewSet) -> None:
    shop = applied(new_set("shop"))
    status = shop.status()
    assert status["tracks"]["system"]["version"] == SYSTEM_LATEST
    assert status["tracks"]["user"]["dirty"] is False
    assert shop.database.row("system") == [(SYSTEM_LATEST, False)]
    assert shop.database.row("user") == [(4, False)]
    header, row = shop.kube.run("get", "fbms", "shop").splitlines()
    assert header.split() == ["NAME", "READY", "PHASE", "SYSTEM", "USER", "DIRTY", "PENDING", "AGE"]
    assert row.split()[:7] == ["shop", "True", "Applied", "6", "4", "false", "0"]
    shop.kube.run("wait", "--for=condition=Ready", "fbms/shop", "--timeout=5s")
    for expected in ("system migrations applied, version 6", "user migrations applied, version 4"):

        def told(words: str = expected) -> int:
            return sum(words in event for event in shop.events())

        assert eventually(f"the Event {expected!r}", told, timeout=15) == 1


def test_the_jobs_logs_are_the_documented_ones(new_set: NewSet) -> None:
    shop = applied(new_set("logs"))
    [system], [user] = shop.jobs("system"), shop.jobs("user")
    assert "INFO Migrations applied successfully source=system version=6" in shop.kube.run(
        "logs", f"job/{system}"
    )
    log = shop.kube.run("logs", f"job/{user}").splitlines()
    assert "INFO Running user migrations... path=/migrations/user" in log
    assert "INFO Migrations applied successfully source=user version=4" in log


def test_row_level_security_of_the_example_behaves(new_set: NewSet) -> None:
    shop = applied(new_set("rls"))
    insert = "INSERT INTO public.products (name, price) VALUES ('tea', 3.5)"
    assert as_claimed(shop, "admin", insert) == [(1,)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_claimed(shop, "customer", insert)
    assert as_claimed(shop, "customer", "SELECT count(*) FROM public.products") == [(1,)]
    assert as_claimed(shop, "customer", "DELETE FROM public.products") == [(0,)]


def test_no_credential_is_in_any_object_or_log(new_set: NewSet) -> None:
    shop = applied(new_set("secretive"))
    password = psycopg.conninfo.conninfo_to_dict(shop.database.inside)["password"]
    seen = shop.kube.run("get", "fbms,jobs,pods,events,configmaps", "-o", "json")
    for job in shop.jobs():
        seen += shop.kube.run("logs", f"job/{job}")
    seen += shop.kube.run("logs", "deployment/fluxbase")
    assert str(password) not in seen


def test_a_failed_migration_is_shown_and_a_corrected_file_recovers(new_set: NewSet) -> None:
    shop = applied(new_set("recovery"))
    shop.write_config_map(files(SHOP, FAILURE))
    status = shop.wait("Failed", dirty=True, version=5)
    error = status["tracks"]["user"]["error"]
    assert error["file"] == "005_add_order_status_enum.up.sql"
    assert error["sqlState"] == "42804"
    assert error["line"] == 6
    assert "default for column" in error["message"]
    assert shop.condition("Stalled")["status"] == "True"
    assert shop.database.row("user") == [(5, True)]
    warnings = eventually(
        "the Event", lambda: [event for event in shop.events() if event.startswith("Warning SQLError")]
    )
    [event] = warnings
    assert all(part in event for part in ("005_add_order_status_enum.up.sql", "42804", "default for column"))

    shop.write_config_map(files(SHOP, FIXED))
    status = shop.wait("Applied", version=5, dirty=False)
    assert "error" not in status["tracks"]["user"]
    assert shop.database.row("user") == [(5, False)]


def test_what_changes_no_input_creates_no_job(new_set: NewSet, restart_operator: Callable[[], None]) -> None:
    shop = applied(new_set("idle"))
    jobs, resource_version = shop.jobs(), shop.read()["metadata"]["resourceVersion"]
    shop.apply()
    shop.kube.run("annotate", "configmap", shop.config_map, "touched=yes")
    restart_operator()
    # Something that does start a Job, as the proof that the operator is past all of the above.
    witness = applied(new_set("witness"))
    assert witness.jobs()
    assert shop.jobs() == jobs
    assert shop.read()["metadata"]["resourceVersion"] == resource_version, "an idle set costs no API write"


def test_without_a_user_source_the_track_is_skipped_and_the_set_is_applied(new_set: NewSet) -> None:
    shop = applied(new_set("skipped"))
    shop.apply(tracks={"system": {}})
    track = shop.wait("Applied", reason="NoSource")["tracks"]["user"]
    assert track["phase"] == "Skipped"
    assert track["version"] == 4, "a skipped track keeps its last known version"


def test_an_edit_between_the_jobs_creation_and_its_start_ends_with_the_newer_content(
    new_set: NewSet, kube: Kube, operator_stopped: Callable[[], object]
) -> None:
    """The container waits for its Secret; meanwhile the ConfigMap is edited and nobody corrects the Job."""
    shop = new_set("race")
    old = {name: data for name, data in files(SHOP).items() if name[:3] in ("001", "002")}
    shop.write_config_map(old, create=True)
    shop.apply(
        tracks={"system": {"enabled": False}, "user": {"source": {"configMap": {"name": shop.config_map}}}}
    )
    eventually("the Job", lambda: shop.jobs("user"))
    shop.wait_message(shop.secret)
    first = shop.jobs("user")
    # 002 references the system track's table; without that track the example needs its own.
    new = {
        "001_one.up.sql": b"CREATE TABLE public.one (id int);\n",
        "002_two.up.sql": b"CREATE TABLE public.two (id int);\n",
    }
    with operator_stopped():  # type: ignore[attr-defined]
        shop.write_config_map(new)
        shop.write_secret()
        log = eventually(
            "the first Job to have read newer content than it was told",
            lambda: kube.run("logs", f"job/{first[0]}", check=False).strip() or None,
        )
        eventually(
            "the first Job's end",
            lambda: kube.get("job", first[0]).get("status", {}).get("failed"),
        )
        assert shop.database.row("user") == [], f"nothing may be touched: {log}"
    shop.wait("Applied", version=2, dirty=False)
    assert shop.database.times_applied() == {"001_one.up.sql": 1, "002_two.up.sql": 1}


def test_a_newer_wish_replaces_a_job_that_never_started(new_set: NewSet) -> None:
    shop = new_set("newer")
    shop.write_config_map({"001_one.up.sql": b"CREATE TABLE public.old (id int);\n"}, create=True)
    shop.apply()
    shop.wait_message(shop.secret)
    shop.write_config_map({"001_one.up.sql": b"CREATE TABLE public.new (id int);\n"})
    shop.write_secret()
    shop.wait("Applied", version=1)
    assert shop.database.query("SELECT to_regclass('public.old')::text, to_regclass('public.new')::text") == [
        (None, "new")
    ]
    assert shop.database.times_applied() == {"001_one.up.sql": 1}


def test_an_edit_is_noticed_within_seconds(new_set: NewSet) -> None:
    """The promise is two seconds; a loaded machine gets more before the test calls it broken."""
    shop = applied(new_set("quick"))
    before = shop.jobs("user")
    shop.write_config_map(files(SHOP, FIXED))
    eventually("a new Job", lambda: set(shop.jobs("user")) - set(before), timeout=15, every=0.1)
    shop.wait("Applied", version=5)
