"""docs/approval.md is walked through, with the real programs: each block shows what they print."""

import re
import shlex
from pathlib import Path

import psycopg
import pytest

from fluxbase_migrations.cli.kubectl import plan_view
from tests.controller.cluster import Cluster
from tests.controller.conftest import Running
from tests.controller.test_approval import ONLY_USER, Shop
from tests.controller.test_kubectl import Kubectl, kubectl  # noqa: F401 - a fixture
from tests.support.databases import Database

PAGE = Path(__file__).parents[2] / "docs" / "approval.md"
BLOCKS = re.findall(r"^```console\n\$ (kubectl .*)\n((?:.*\n)*?)```$", PAGE.read_text(), re.MULTILINE)
FILES = {
    "001_orders.up.sql": "CREATE TABLE orders (id bigint PRIMARY KEY, total text, note text);",
    "001_orders.down.sql": "DROP TABLE orders;",
}
CHANGE = {
    "002_totals.up.sql": "ALTER TABLE orders ALTER COLUMN total TYPE numeric USING total::numeric;",
    "003_notes.up.sql": "ALTER TABLE orders DROP COLUMN note;",
}


@pytest.fixture
def shop(cluster: Cluster, database: Database, tmp_path: Path) -> Shop:
    return Shop(cluster, database, tmp_path)


def plain(text: str, namespace: str = "fluxbase") -> str:
    """Without what differs from run to run."""
    text = text.replace(namespace, "fluxbase")
    return re.sub(r"sha256:[0-9a-f]+", "sha256:…", re.sub(r"\d+ bytes|\d+ kB", "8 kB", text)).strip()


def shown(command: str) -> str:
    return str(dict(BLOCKS)[command])


async def test_the_page_is_walked_through(
    shop: Shop,
    operator: Running,
    kubectl: Kubectl,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    cluster = shop.cluster
    await cluster.config_map("files", FILES)
    await cluster.make_set(tracks=ONLY_USER)
    await shop.run("user", 1)
    await cluster.reaches("user", "Applied")
    with psycopg.connect(shop.database.dsn) as connection:
        connection.execute("INSERT INTO orders VALUES (1, '7', '')")
    await cluster.patch_set(spec={"approval": "Manual"})
    await cluster.edit_config_map("files", dict(CHANGE))
    await shop.run("user", 2)
    digest = await shop.waits()
    event = await cluster.event("AwaitingApproval")
    assert plain(event["message"]) in plain(PAGE.read_text())

    for command in ("kubectl fluxbase plan shop\n", "kubectl fluxbase status shop\n"):
        printed = await kubectl(*shlex.split(command)[2:])
        assert plain(printed.out, cluster.namespace) == plain(shown(command.strip()))

    plan = (await cluster.track("user"))["plan"]
    text = plan_view.full_text(shop.output, plan)
    assert text is not None
    assert plain("\n".join(text)) in plain(shown("kubectl fluxbase plan shop --full"))

    approving = kubectl("approve", "shop", "--digest", digest, "--yes", "--wait", "--timeout", "100s")
    await shop.run("user", 3)
    answer = await approving
    assert answer.code == 0
    told, sample = (
        re.sub(r": \d+s: ", ": 1s: ", plain(text, cluster.namespace)).splitlines()
        for text in (answer.out, shown("kubectl fluxbase approve shop --wait"))
    )
    assert [told[0], told[-1]] == [sample[0], sample[-1]]
