"""What ``kubectl fluxbase`` shows, of a real API server, a running operator, and Jobs that really run."""

from pathlib import Path

import pytest

from dev.peers import write_files
from tests.support.databases import Database
from tests.terminal.recording import Shell
from tests.terminal.test_migrate import DIRTY, INVOICES, MIGRATIONS, ORDERS, SENDING, USERS, asked

pytestmark = pytest.mark.xdist_group("terminal")  # the cluster is started once

CREATE = "kubectl fluxbase create shop --from-file migrations --database-secret shop-db"
EDIT = (
    "kubectl create configmap shop-migrations --from-file migrations --dry-run=client -o yaml"
    " | kubectl replace -f -"
)
OUTCOMES = (
    r"(Applied|RolledBack), |(AwaitingApproval|DatabaseClaimed|SQLError): "
    r"|user track: 003_totals\S+, file 1 of 1$"
)
PASSING = rf": \d+s: (?!{OUTCOMES})"
"""What is seen or not while a command waits, by the moment at which it looks."""
TOTALS = {
    "003_totals.up.sql": "ALTER TABLE orders ADD totals nummeric;\n",
    "003_totals.down.sql": "ALTER TABLE orders DROP totals;\n",
}
HOLDING = """
CREATE FUNCTION fill_totals() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WHILE NOT pg_try_advisory_xact_lock(77) LOOP PERFORM pg_sleep(0.05); END LOOP;
END $$
"""
"""It returns as soon as nobody else holds the lock 77."""


def test_a_set_is_created_and_looked_at(cluster_shell: Shell, tmp_path: Path) -> None:
    shell = cluster_shell
    write_files(tmp_path / MIGRATIONS, USERS | ORDERS)
    shell.session("kubectl-create")
    shell.type(f"{CREATE} --dry-run=client -o yaml", first=14)
    shell.type(f"{CREATE} --wait", without=PASSING)
    shell.session("kubectl-list")
    shell.type("kubectl get fbms")
    shell.type("kubectl fluxbase list")
    shell.type("kubectl fluxbase list -A -o wide")
    shell.session("kubectl-status")
    shell.type("kubectl fluxbase status shop")
    shell.type("kubectl fluxbase history shop")
    shell.type("kubectl fluxbase logs shop")
    shell.session("kubectl-describe")
    shell.type("kubectl fluxbase describe shop", picture="kubectl-describe")
    shell.session("kubectl-version")
    shell.type("kubectl fluxbase version")
    shell.type("kubectl fluxbase completion bash", first=3)
    shell.type("kubectl fluxbase wait shop", without=PASSING)
    shell.session("kubectl-suspend")
    shell.type("kubectl fluxbase suspend shop")
    shell.type("kubectl fluxbase resume shop")


def test_a_file_fails_and_is_corrected(
    cluster_shell: Shell, cluster_database: Database, tmp_path: Path
) -> None:
    shell = cluster_shell
    source = write_files(tmp_path / MIGRATIONS, USERS | ORDERS)
    shell.quietly(f"{CREATE} --wait")
    write_files(source, TOTALS)
    shell.session("kubectl-failure")
    shell.type("cat migrations/003_totals.up.sql")
    shell.type(EDIT)
    shell.type("kubectl fluxbase wait shop", code=1, without=PASSING)
    shell.type("kubectl fluxbase status shop", picture="kubectl-status")
    shell.type("kubectl fluxbase retry shop --wait", code=1, without=PASSING)
    with asked(cluster_database) as other:
        other.execute(HOLDING)
        other.execute("SELECT pg_advisory_lock(77)")
        corrected = "ALTER TABLE orders ADD totals numeric;\nSELECT fill_totals();\n"
        write_files(source, {"003_totals.up.sql": corrected})
        shell.session("kubectl-watch")
        shell.type(EDIT)
        with shell.running("kubectl fluxbase watch shop") as running:
            running.until("file 1 of 1")
            other.execute("SELECT pg_advisory_unlock(77)")
        shell.ended("kubectl fluxbase watch shop", without=PASSING)


def test_going_back_and_forward(cluster_shell: Shell, tmp_path: Path) -> None:
    shell = cluster_shell
    write_files(tmp_path / MIGRATIONS, USERS | ORDERS)
    shell.quietly(f"{CREATE} --wait")
    shell.session("kubectl-rollback")
    shell.type("kubectl fluxbase rollback shop --to 1", ("[y/N]", "n"), code=1)
    shell.type("kubectl fluxbase rollback shop --to 1 --wait", ("[y/N]", "y"), without=PASSING)
    shell.type("kubectl fluxbase rollback shop --to latest --yes --wait", without=PASSING)


def test_a_dirty_database(cluster_shell: Shell, cluster_database: Database, tmp_path: Path) -> None:
    shell = cluster_shell
    source = write_files(tmp_path / MIGRATIONS, USERS)
    shell.quietly(f"{CREATE} --wait")
    with asked(cluster_database) as other:
        other.execute(SENDING)
    write_files(source, DIRTY)
    shell.quietly(EDIT)
    shell.quietly("kubectl fluxbase wait shop", code=1)
    shell.session("kubectl-force")
    shell.type("kubectl fluxbase status shop")
    shell.type("kubectl fluxbase force shop 2 --wait", ("[y/N]", "y"), without=PASSING)


def test_two_sets_on_one_database(cluster_shell: Shell, tmp_path: Path) -> None:
    shell = cluster_shell
    write_files(tmp_path / MIGRATIONS, USERS | ORDERS)
    shell.quietly(f"{CREATE} --wait")
    create = CREATE.replace("create shop", "create shop2")
    shell.session("kubectl-take-over")
    shell.type(f"{create} --wait", code=1, without=PASSING)
    shell.type("kubectl fluxbase take-over shop2 --wait", code=1, without=PASSING)
    shell.type("kubectl fluxbase take-over shop2 --wait", without=PASSING)


def test_a_plan_waits_for_approval(cluster_shell: Shell, tmp_path: Path) -> None:
    shell = cluster_shell
    source = write_files(tmp_path / MIGRATIONS, USERS | ORDERS)
    shell.quietly(f"{CREATE} --wait")
    shell.quietly("""kubectl patch fbms shop --type merge -p '{"spec": {"approval": "Manual"}}'""")
    write_files(source, INVOICES)
    shell.session("kubectl-approval")
    shell.type(EDIT)
    shell.type("kubectl fluxbase wait shop", code=1, without=PASSING)
    shell.type("kubectl fluxbase plan shop")
    shell.type("kubectl fluxbase plan shop --full", picture="kubectl-plan")
    shell.type("kubectl fluxbase approve shop", ("[y/N]", "n"), code=1)
    shell.type("kubectl fluxbase approve shop --wait", ("[y/N]", "y"), without=PASSING)
