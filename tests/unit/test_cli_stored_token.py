"""`understudy token create --store`: when no token of an admin is left, the store itself gives one."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from understudy.access import Caller, Entry, Role, flaws
from understudy.admin import Keyring
from understudy.cli import app
from understudy.store.sqlite import SqliteStore


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with one token, which somebody has lost."""
    for name in [name for name in os.environ if name.startswith("UNDERSTUDY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "understudy.db"
    by = Caller(name="setup", role=Role.ADMIN)

    async def make(keyring: Keyring) -> None:
        await keyring.create(name="lost", role=Role.ADMIN, expires_at=0.0, by=by)

    opened(path, make)
    return path


def opened(path: Path, work: Any) -> Any:
    """What *work* gives of a keyring over the store at *path*, as a control process has it."""

    async def run() -> Any:
        store = SqliteStore(path)
        await store.open()
        keyring = Keyring(store)
        await keyring.refresh()
        try:
            return await work(keyring)
        finally:
            await store.close()

    return asyncio.run(run())


def create(*arguments: str) -> Any:
    result = CliRunner().invoke(app, ["token", "create", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


async def entries(keyring: Keyring) -> list[Entry]:
    found = await keyring.store.audit()
    assert list(flaws(found, [await keyring.store.audit_head()])) == []
    return found


@pytest.mark.parametrize("named", ["url", "relative", "configuration"])
def test_the_store_itself_gives_a_token_that_works(file: Path, named: str) -> None:
    """By URL or by the file that names it; who did it, and that it was done there, is in the audit."""
    stores = {"url": f"sqlite:///{file}", "relative": "sqlite:///understudy.db", "configuration": "u.yaml"}
    Path("u.yaml").write_text("store: sqlite:///understudy.db\nservices: {a: {url: 'http://127.0.0.1:1'}}\n")
    made = create("ann", "--role", "admin", "--store", stores[named], "--reason", "all lost")
    assert made.exit_code == 0, made.stderr
    assert "within 5 s" in made.stderr

    async def shown(keyring: Keyring) -> Caller:
        return keyring.caller(peer="10.0.0.1", authorizations=[f"Bearer {made.stdout.strip()}"], session="")

    assert opened(file, shown).role is Role.ADMIN
    last = opened(file, entries)[-1].deed
    assert (last.action, last.origin, last.reason, "(in the store)" in last.who) == (
        "token.create",
        "store",
        "all lost",
        True,
    )


def test_what_it_prints_can_be_read_by_programs(file: Path) -> None:
    """As the admin API answers."""
    told = json.loads(create("ci", "--days", "2", "--store", f"sqlite:///{file}", "--json").stdout)
    assert (told["name"], told["role"], told["token"][:4]) == ("ci", "viewer", "ust_")
    assert told["expires_at"] - told["created_at"] == pytest.approx(2 * 86_400)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ann", "--store", "sqlite:///nowhere.db"], "nowhere.db: there is no such file"),
        (["ann", "--store", "memory://"], "in no process but its own"),
        (["ann", "--store", "mysql://x"], "mysql:// is no store of this version"),
        (["ann", "--store", "nowhere.yaml"], "nowhere.yaml"),
        (["a\nb", "--store", "sqlite:///understudy.db"], "name: must be one line"),
        (["ann", "--store", "postgresql://u:secret@127.0.0.1:1/db"], "refuses connections"),
    ],
)
def test_a_store_that_cannot_be_is_refused(file: Path, arguments: list[str], told: str) -> None:
    """With the reason, without a password, and nothing is made."""
    refused = create(*arguments)
    assert refused.exit_code == 1
    assert told in refused.stderr
    assert "secret" not in refused.stderr
    assert len(opened(file, entries)) == 1
    assert not Path("nowhere.db").exists()


def test_the_first_token_of_a_store_is_an_admins(file: Path) -> None:
    """Here as well: a viewer's would lock everybody out."""
    empty = file.with_name("empty.db")
    empty.touch()
    refused = create("ci", "--store", f"sqlite:///{empty}")
    assert (refused.exit_code, "the first token must be an admin's" in refused.stderr) == (1, True)
    assert opened(empty, entries) == []
