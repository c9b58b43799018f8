"""Generated directories like an application's history, for where no real one is available.

A service begins with tables, and goes on with columns, indexes, constraints, functions, views and changes of
data, most of them one to three statements a file.
"""

import random
from collections.abc import Callable
from pathlib import Path

SIZES = (32, 100, 300, 692)
"""Numbers of files: from a small service's to the longest public history that we know of."""


class _History:
    """The objects that the files so far create, so that the next file can change them."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._tables: list[str] = []
        self._columns = 0

    def next(self) -> tuple[str, str]:
        """Name and text of the next file."""
        if len(self._tables) < 3 or self._chance.random() < 0.22:
            return self._table()
        steps: list[Callable[[], tuple[str, str]]] = [
            self._column,
            self._column,
            self._index,
            self._index,
            self._constraint,
            self._function,
            self._view,
            self._data,
        ]
        return self._chance.choice(steps)()

    def _table(self) -> tuple[str, str]:
        name = f"entity_{len(self._tables) + 1}"
        parent = (
            f", parent_id bigint REFERENCES {self._chance.choice(self._tables)} (id)" if self._tables else ""
        )
        self._tables.append(name)
        text = (
            f"CREATE TABLE {name} (\n    id bigserial PRIMARY KEY,\n    name text NOT NULL,\n"
            f"    made_at timestamptz NOT NULL DEFAULT now(){parent}\n);\n"
            f"CREATE INDEX {name}_name ON {name} (name);\n"
        )
        return f"create_{name}", text

    def _column(self) -> tuple[str, str]:
        table = self._chance.choice(self._tables)
        self._columns += 1
        kind = self._chance.choice(
            ("text", "bigint NOT NULL DEFAULT 0", "boolean NOT NULL DEFAULT false", "jsonb")
        )
        return (
            f"add_column_{self._columns}",
            f"ALTER TABLE {table} ADD COLUMN column_{self._columns} {kind};\n",
        )

    def _index(self) -> tuple[str, str]:
        table = self._chance.choice(self._tables)
        self._columns += 1
        name = f"{table}_made_{self._columns}"
        return f"index_{name}", f"CREATE INDEX {name} ON {table} (made_at) WHERE id > {self._columns};\n"

    def _constraint(self) -> tuple[str, str]:
        table = self._chance.choice(self._tables)
        self._columns += 1
        name = f"{table}_check_{self._columns}"
        text = f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK (length(name) < {1000 + self._columns});\n"
        return f"check_{name}", f"BEGIN;\n\n{text}\nCOMMIT;\n"

    def _function(self) -> tuple[str, str]:
        table = self._chance.choice(self._tables)
        text = (
            f"CREATE OR REPLACE FUNCTION touch_{table}() RETURNS trigger LANGUAGE plpgsql AS $$\nBEGIN\n"
            "    NEW.made_at := now(); -- what was there before does not count; it's replaced\n"
            "    RETURN NEW;\nEND;\n$$;\n\n"
            f"DROP TRIGGER IF EXISTS touch ON {table};\n"
            f"CREATE TRIGGER touch BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION touch_{table}();\n"
        )
        return f"touch_{table}", text

    def _view(self) -> tuple[str, str]:
        table = self._chance.choice(self._tables)
        return f"view_{table}", f"CREATE OR REPLACE VIEW named_{table} AS SELECT id, name FROM {table};\n"

    def _data(self) -> tuple[str, str]:
        table = self._chance.choice(self._tables)
        text = (
            f"INSERT INTO {table} (name) SELECT 'row ' || i FROM generate_series(1, 20) AS i;\n"
            f"UPDATE {table} SET name = upper(name) WHERE id % 2 = 0;\n"
        )
        return f"fill_{table}", text


def generated(parent: Path, size: int) -> Path:
    """A directory of so many files; the same each time."""
    directory = parent / f"generated-{size}"
    directory.mkdir(parents=True)
    history = _History(random.Random(size))
    for number in range(1, size + 1):
        name, text = history.next()
        (directory / f"{number:06}_{name}.up.sql").write_text(text)
    return directory
