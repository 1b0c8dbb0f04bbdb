"""The access log of a running Understudy: a line for each request, whole, joined with what services saw."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from serve_world import Load, always, ask, config_text, wait_until
from servers import Serving, UnderstudyServe
from store_servers import free_port

CANARIES = ("Cookie: uid=canary-a", "Authorization: Bearer canary-b", "X-Api-Key: canary-c")


def lines_of(*paths: Path) -> list[dict[str, Any]]:
    """Every line of *paths*, each of them JSON."""
    return [json.loads(line) for path in paths if path.exists() for line in path.read_text().splitlines()]


def count(serving: Serving, sample: str) -> float:
    """The value of *sample* in a scrape; 0 when it is absent."""
    text = serving.admin("/metrics").body.decode()
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_each_request_has_its_line_through_rotation_and_drain(understudy_serve: UnderstudyServe) -> None:
    """Two workers, one file, renamed under load: no line is lost, torn or there twice."""
    with always().listening() as primary, always().listening() as shadow:
        config = config_text(primary.port, shadow.port, workers=2, access_log={"path": "access.log"})
        serving = understudy_serve(config)
        path, old = serving.folder / "access.log", serving.folder / "access.log.1"
        with Load(serving.proxy_port, clients=4) as load:
            load.until_answered(100)
            wait_until(path.exists, "the log")
            path.rename(old)
            load.until_answered(100)
            wait_until(lambda: path.exists() and path.stat().st_size, "a new log")
            tally = load.stop()
        assert tally.failed == []
        wait_until(
            lambda: count(serving, 'understudy_access_log_total{outcome="written"}') == tally.answered,
            "the count of lines",
        )
        assert serving.server.stop() == 0
        told = lines_of(old, path)
        assert len(told) == tally.answered
        assert {line["worker"] for line in told} <= {"0", "1"}
        ids = {line["request_id"] for line in told}
        assert len(ids) == len(told)
        assert ids == {asked.fields["x-request-id"] for asked in primary.requests()}
        assert {asked.fields["x-request-id"] for asked in shadow.requests("1")} <= ids
        assert {line["status"] for line in told} == {200}


def test_nothing_that_opens_a_door_is_told(understudy_serve: UnderstudyServe) -> None:
    """Credentials in fields, query and path; a request that was refused before it had a route."""
    with always().listening() as primary, always().listening() as shadow:
        config = config_text(primary.port, shadow.port, access_log={"path": "logs/access.log"})
        serving = understudy_serve(config)
        (serving.folder / "logs").mkdir()
        ask(serving.proxy_port, "/orders?token=canary-d", *CANARIES)
        ask(serving.proxy_port, "/reset/token=canary-e", *CANARIES)
        assert ask(serving.proxy_port, "/x#canary-f", *CANARIES)[0] == 400
        path = serving.folder / "logs" / "access.log"
        wait_until(lambda: len(lines_of(path)) == 3, "three lines")
        told = lines_of(path)
        assert "canary" not in path.read_text()
        assert Counter(line["status"] for line in told) == {200: 2, 400: 1}
        assert (told[0]["path"], told[2]["reason"]) == ("/orders", "bad_target")


def test_standard_output_is_a_log_too(tmp_path: Path) -> None:
    """``-``: whole lines of every worker, and nothing else; the last ones before it ends."""
    port, admin = free_port(), free_port()
    with always().listening() as primary, always().listening() as shadow:
        config = config_text(
            primary.port,
            shadow.port,
            workers=2,
            listen=f"127.0.0.1:{port}",
            admin={"listen": f"127.0.0.1:{admin}"},
            access_log={"path": "-", "query": True},
        )
        (tmp_path / "understudy.yaml").write_text(config)
        with subprocess.Popen(
            [sys.executable, "-m", "understudy", "serve", "-c", "understudy.yaml"],
            cwd=tmp_path,
            env=os.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                wait_until(lambda: ask(port, "/ready")[0] == 200, "an answer")
                for number in range(20):
                    ask(port, f"/orders/{number}?page={number}")
            finally:
                process.terminate()
            out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    told = [json.loads(line) for line in out.splitlines()]
    asked = [(line["path"], line["query"]) for line in told if line["path"] != "/ready"]
    assert sorted(asked) == sorted((f"/orders/{number}", f"page={number}") for number in range(20))
