"""The store is locked, read-only, broken: a clear error, workers serve on, evidence arrives once it can."""

import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from serve_world import PATIENCE_SECONDS, always, ask, config_text, rules, says_json, wait_until
from servers import Server, Serving, UnderstudyServe
from store_servers import free_port

RULES = "/api/v1/rules"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process holds SQLite's write lock."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=PATIENCE_SECONDS)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def store_check(serving: Serving) -> tuple[int, bool, str]:
    """Status of /readyz, and what it says of the store."""
    answer = serving.admin("/readyz")
    check = answer.json()["checks"]["store"]
    return answer.status, check["ok"], check["detail"]


def test_a_locked_file_stops_changes_and_nothing_else(understudy_serve: UnderstudyServe) -> None:
    """PUT and kill: 503 with the name of the file and the mend; requests go on; evidence waits and comes."""
    with always().listening() as primary, always(says_json({"ok": False})).listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port))
        with locked(serving.folder / "understudy.db"):
            refused = serving.admin(RULES, method="PUT", body=rules("stable"), headers={"If-Match": "*"})
            assert refused.status == 503
            assert "understudy.db: is locked by another process" in refused.json()["detail"]
            assert "retry-after" in refused.headers
            assert store_check(serving)[:2] == (503, False)
            assert "is locked" in store_check(serving)[2]
            for _ in range(30):
                assert ask(serving.proxy_port)[0] == 200
            assert {asked.variant for asked in primary.requests()} == {"dark"}
            assert serving.admin(RULES).headers["etag"] == '"1"'
            assert serving.report()["exchanges"] == 0
            assert "understudy_store_trouble 1.0" in serving.admin("/metrics").body.decode()
        report = serving.settled_report(eligible=30)
        assert (report["exchanges"], report["mirror"]["answered"]) == (30, 30)
        wait_until(serving.is_ready, "a store that works")
        assert serving.admin(RULES, method="PUT", body=rules(), headers={"If-Match": "*"}).status == 200
        assert_stored(serving, exchanges=30)


def test_an_idle_store_is_known_to_work_again(understudy_serve: UnderstudyServe) -> None:
    """Without traffic and without changes, /readyz finds out by itself."""
    with always().listening() as primary, always().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port))
        with locked(serving.folder / "understudy.db"):
            assert serving.admin("/api/v1/flags/shop/kill", method="POST").status == 503
            assert store_check(serving)[0] == 503
        wait_until(serving.is_ready, "a store that works")


def assert_stored(serving: Serving, *, exchanges: int) -> None:
    """The file says the same as the report."""
    with closing(sqlite3.connect(serving.folder / "understudy.db")) as stored:
        rows = dict(stored.execute("SELECT key, n FROM evidence").fetchall())
    counted = sum(n for key, n in rows.items() if key.startswith('["exchange"') and '"exchanges"]' in key)
    assert counted == exchanges


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv to take root's powers away")
def test_a_read_only_file_is_served_from_but_not_changed(understudy_serve: UnderstudyServe) -> None:
    """Its rules are in force; a change is refused with the mend; with permission back all is made up for."""
    with always().listening() as primary, always(says_json({"ok": False})).listening() as shadow:
        text = config_text(primary.port, shadow.port)
        first = understudy_serve(text)
        changed = rules("dark", compare=[{"endpoint": "*", "ignore": ["/never"]}])
        stored = first.admin(RULES, method="PUT", body=changed, headers={"If-Match": "*"})
        assert stored.status == 200
        assert first.stop() == 0
        path = first.folder / "understudy.db"
        with read_only(path), without_powers(text, first.folder) as serving:
            wait_until(lambda: serving.admin(RULES).headers["etag"] == '"2"', "the stored rules")
            refused = serving.admin(RULES, method="PUT", body=rules("stable"), headers={"If-Match": "*"})
            assert refused.status == 503
            assert "is read-only for this user; give write permission" in refused.json()["detail"]
            for _ in range(10):
                assert ask(serving.proxy_port)[0] == 200
            wait_until(lambda: "is read-only" in store_check(serving)[2], "the trouble")
            path.parent.chmod(0o755)
            path.chmod(0o644)
            asked = len(primary.requests())
            assert serving.settled_report(eligible=asked)["exchanges"] == asked
            wait_until(serving.is_ready, "a store that works")


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        yield
    finally:
        path.parent.chmod(0o755)
        path.chmod(0o644)


@contextmanager
def without_powers(text: str, folder: Path) -> Iterator[Serving]:
    """Serve *text* in *folder* as one whom file permissions bind, root or not."""
    proxy_port, admin_port = free_port(), free_port()
    folder.chmod(0o755)
    config = folder / "understudy.yaml"
    config.write_text(f"listen: 127.0.0.1:{proxy_port}\nadmin: {{listen: '127.0.0.1:{admin_port}'}}\n{text}")
    log = folder / f"{proxy_port}.log"
    log.touch()
    folder.chmod(0o555)
    command = [sys.executable, "-m", "understudy", "serve", "-c", str(config)]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override", "--", *command]
    server = Server.start(command, port=proxy_port, folder=folder)
    serving = Serving(server=server, proxy_port=proxy_port, admin_port=admin_port, folder=folder)
    try:
        wait_until(lambda: ask(proxy_port)[0] == 200, "an answer")
        yield serving
    finally:
        serving.stop()


def test_a_broken_file_at_the_start_is_told_and_does_not_stop_the_proxy(
    understudy_serve: UnderstudyServe, tmp_path: Path
) -> None:
    """Workers wait a few seconds for stored rules, then follow the file; once mended, the store rules."""
    database = tmp_path / "understudy.db"
    database.write_bytes(b"this is no database " * 100)
    with always().listening() as primary, always().listening() as shadow:
        proxy_port, admin_port = free_port(), free_port()
        config = tmp_path / "understudy.yaml"
        addresses = f"listen: 127.0.0.1:{proxy_port}\nadmin: {{listen: '127.0.0.1:{admin_port}'}}\n"
        config.write_text(addresses + config_text(primary.port, shadow.port))
        command = [sys.executable, "-m", "understudy", "serve", "-c", str(config)]
        server = Server.start(command, port=proxy_port, folder=tmp_path)
        serving = Serving(server=server, proxy_port=proxy_port, admin_port=admin_port, folder=tmp_path)
        try:
            assert ask(proxy_port)[0] == 200
            assert primary.requests()[0].variant == "dark"
            told = "understudy.db: is not a SQLite database; move it away"
            wait_until(lambda: told in store_check(serving)[2], "the trouble")
            assert store_check(serving)[:2] == (503, False)
            for path, method in ((RULES, "PUT"), ("/api/v1/flags/shop/kill", "POST"), (RULES, "GET")):
                body = rules() if method == "PUT" else None
                answer = serving.admin(path, method=method, body=body, headers={"If-Match": "*"})
                assert answer.status == 503
            log = server.log.read_text()
            assert "starting from the configuration" in log
            assert log.count("is not a SQLite database") < 4  # told when it is news, not each second
            database.unlink()
            wait_until(serving.is_ready, "the mended store")
            assert serving.settled_report(eligible=1)["matched"] == 1
        finally:
            assert serving.stop() == 0
