"""Migrations: up and down, and the same tables that the queries believe in."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import URL, Connection, Engine, create_engine, inspect, text

from understudy.errors import StoreError
from understudy.store import migration
from understudy.store.evidence import digest
from understudy.store.schema import REVISION, VERSION_TABLE, metadata
from understudy.store.sqlite import SqliteStore


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(URL.create("sqlite", database=str(tmp_path / "100% understudy.db")))
    yield engine
    engine.dispose()


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def test_the_newest_revision_is_the_one_the_tables_name() -> None:
    """A forgotten change of `REVISION` would migrate at every start."""
    assert migration.revisions()[-1] == REVISION


def test_migrating_makes_the_tables_the_queries_use(engine: Engine) -> None:
    """Alembic finds no difference between what the steps made and the tables in `schema`."""
    with engine.begin() as connection:
        migration.upgrade(connection)
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
        )

        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == REVISION


def test_migrating_twice_changes_nothing(engine: Engine) -> None:
    """What was stored stays."""
    with engine.begin() as connection:
        migration.upgrade(connection)
        connection.execute(text("INSERT INTO evidence (digest, key, n) VALUES (x'00', '[\"a\"]', 7)"))
        migration.upgrade(connection)

        assert connection.execute(text("SELECT n FROM evidence")).scalar() == 7


def test_down_and_up_again(engine: Engine) -> None:
    """Every step can be taken back, to an empty database, and taken again."""
    with engine.begin() as connection:
        migration.upgrade(connection)
        migration.downgrade(connection, "base")
        assert tables(connection) == {VERSION_TABLE}

        migration.upgrade(connection)
        assert tables(connection) == {VERSION_TABLE, *metadata.tables}


async def test_a_store_that_went_down_is_brought_up(tmp_path: Path) -> None:
    """A database moved down to nothing is migrated by the next `open`."""
    path = tmp_path / "understudy.db"
    store = SqliteStore(path)
    await store.open()
    await store.close()
    engine = create_engine(URL.create("sqlite", database=str(path)))
    with engine.begin() as connection:
        migration.downgrade(connection, "base")
    engine.dispose()

    await store.open()
    assert await store.rules() is None
    await store.close()


async def test_a_migration_that_fails_leaves_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All steps are one transaction: after a failure at the very end the file is empty, and opens next."""

    def upgrade_and_fail(connection: Connection) -> None:
        upgrade(connection)
        raise OSError(28, "No space left on device")

    upgrade = migration.upgrade
    path = tmp_path / "understudy.db"
    store = SqliteStore(path)
    monkeypatch.setattr(migration, "upgrade", upgrade_and_fail)
    with pytest.raises(StoreError, match=r"understudy\.db: No space left on device"):
        await store.open()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []

    monkeypatch.undo()
    await store.open()
    assert await store.rules() is None
    await store.close()


def test_negative_counts_are_refused_by_the_table(engine: Engine) -> None:
    """The last line of defence is the database's own check."""
    with engine.begin() as connection:
        migration.upgrade(connection)
        checks = inspect(connection).get_check_constraints("evidence")

    assert [check["sqltext"] for check in checks] == ["n >= 0"]


def test_migrating_leaves_logging_as_it_was(engine: Engine) -> None:
    """No handler, no level of anybody is touched."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level, logging.getLogger("alembic").level)

    with engine.begin() as connection:
        migration.upgrade(connection)

    assert (list(root.handlers), root.level, logging.getLogger("alembic").level) == before


def test_samples_of_the_first_revision_are_named(engine: Engine) -> None:
    """They stay, each with a name of its own; on the way back they lose it and stay too."""
    row = "INSERT INTO samples (key, priority, at, size_bytes, body) VALUES ('[]', 0.5, 1.0, 2, '{}')"
    with engine.begin() as connection:
        migration.upgrade(connection, "0001")
        for _ in range(3):
            connection.execute(text(row))
        migration.upgrade(connection)

        names = connection.execute(text("SELECT name FROM samples")).scalars().all()
        assert len({name for name in names if len(name) == 16}) == 3
        migration.downgrade(connection, "0001")
        assert connection.execute(text("SELECT count(*) FROM samples")).scalar() == 3
        assert tables(connection) == {VERSION_TABLE, "rules", "evidence", "evidence_sources", "samples"}


def test_counts_of_the_second_revision_are_found_by_digest(engine: Engine) -> None:
    """Each count stays, up and down again, more of them than one page."""
    counts = [{"key": f'["key-{number}"]', "n": number} for number in range(5001)]
    with engine.begin() as connection:
        migration.upgrade(connection, "0002")
        connection.execute(text("INSERT INTO evidence (key, n) VALUES (:key, :n)"), counts)
        migration.upgrade(connection)

        rows = connection.execute(text("SELECT digest, key, n FROM evidence")).all()
        assert {key: n for _, key, n in rows} == {row["key"]: row["n"] for row in counts}
        assert all(found == digest(key) for found, key, _ in rows)
        migration.downgrade(connection, "0002")
        assert connection.execute(text("SELECT count(*), sum(n) FROM evidence")).one() == (5001, 12502500)


def filled(connection: Connection) -> None:
    """A store of the fourth revision with something in every table that the fifth changes."""
    migration.upgrade(connection, "0004")
    for statement in (
        "INSERT INTO rules VALUES (1, '{}', 'ann', '', 1.0, 'x'), (2, '{}', 'bob', 'why', 2.0, 'y')",
        "INSERT INTO evidence VALUES (x'00', '[\"a\"]', 7)",
        "INSERT INTO evidence_sources VALUES ('worker-1', 3, 1)",
        "INSERT INTO samples (key, priority, at, size_bytes, body) VALUES ('[]', 0.5, 1.0, 2, '{}')",
        "INSERT INTO tokens VALUES ('aa', 'ann', 'admin', 'd', 1.0, '', 0.0, 0.0, 0.0)",
        "INSERT INTO audit VALUES (1, 1.0, 'ann', '', 'rules.put', '', '', 0, 1, '', 'h')",
    ):
        connection.exec_driver_sql(statement)


DATA = ("rules", "evidence", "evidence_sources", "samples")


def rows(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    names = (*DATA, "tokens", "audit", "audit_head")
    return {name: sorted(map(tuple, connection.execute(text(f"SELECT * FROM {name}")))) for name in names}


def test_what_was_there_is_of_the_first_environment(engine: Engine) -> None:
    """Every row, up; and on the way down it is as it was, to the last value."""
    with engine.begin() as connection:
        filled(connection)
        before = rows(connection)
        migration.upgrade(connection, "0005")

        for name in DATA:
            found = connection.execute(text(f"SELECT environment FROM {name}")).scalars().all()
            assert (name, set(found), len(found)) == (name, {"default"}, len(before[name]))
        assert connection.execute(text("SELECT roles FROM tokens")).scalars().all() == [""]
        assert connection.execute(text("SELECT environment FROM audit")).scalars().all() == [""]
        migration.downgrade(connection, "0004")
        assert rows(connection) == before


def test_other_environments_go_on_the_way_down(engine: Engine) -> None:
    """Their rules must not become those of the one that is left, nor a token get more rights than it had."""
    with engine.begin() as connection:
        filled(connection)
        before = rows(connection)
        migration.upgrade(connection, "0005")
        for statement in (
            "INSERT INTO rules VALUES ('prod', 9, '{}', 'eve', '', 1.0, 'z')",
            "INSERT INTO evidence VALUES ('prod', x'00', '[\"a\"]', 99)",
            "INSERT INTO evidence_sources VALUES ('prod', 'worker-1', 99, 1)",
            "INSERT INTO tokens VALUES ('bb', 'bob', '', 'd', 1.0, '', 0, 0, 0, '{\"dev\":\"admin\"}')",
            "UPDATE samples SET environment = 'default'",
            "INSERT INTO environments VALUES ('prod', '[]')",
        ):
            # No colon in it is a parameter.
            connection.exec_driver_sql(statement)
        migration.downgrade(connection, "0004")

        assert rows(connection) == before
