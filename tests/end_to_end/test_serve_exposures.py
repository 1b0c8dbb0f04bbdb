"""Who met what, through a real server: counted, kept over a restart, forgotten by unit; and the stream."""

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import Any

from serve_world import PATIENCE_SECONDS, POLL_SECONDS, always, ask, config_text, flag
from servers import Serving, UnderstudyServe
from websockets.asyncio.client import connect

UNITS = ("alice-4711", "bob-4712")


def usage(serving: Serving, *, evaluations: int) -> dict[str, Any]:
    """Usage of shop once there are so many *evaluations*."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        (told,) = serving.admin("/api/v1/usage?flag=shop").json()["flags"]
        if told["evaluations"] >= evaluations or time.monotonic() > ends_at:
            assert told["evaluations"] == evaluations
            return dict(told)
        time.sleep(POLL_SECONDS)


def test_what_was_met_is_counted_kept_and_forgotten(understudy_serve: UnderstudyServe) -> None:
    """Two workers and OFREP together; a unit counts once; a purge of samples forgets it too."""
    with always().listening() as primary, always().listening() as shadow:
        text = config_text(
            primary.port, shadow.port, flags={"shop": flag("stable")}, exposures={"sample": 1.0}, workers=2
        )
        serving = understudy_serve(text)
        for unit in (*UNITS, *UNITS, UNITS[0]):
            assert ask(serving.proxy_port, "/orders", f"Cookie: uid={unit}")[0] == 200
        serving.admin("/api/v1/decide/shop/carol")
        told = usage(serving, evaluations=6)
        assert (told["units"], [row["variant"] for row in told["variants"]]) == (3, ["stable"])
        assert serving.stop() == 0
        stored = b"".join(path.read_bytes() for path in serving.folder.glob("understudy.db*"))
        assert not any(unit.encode() in stored for unit in (*UNITS, "carol"))

        again = understudy_serve(text, folder=serving.folder)
        assert again.admin(f"/api/v1/exposures?unit={UNITS[0]}", method="DELETE").json() == {"deleted": 1}
        again.admin(f"/api/v1/samples?unit={UNITS[1]}", method="DELETE")
        assert usage(again, evaluations=6)["units"] == 1
        command = [
            sys.executable,
            "-m",
            "understudy",
            "flags",
            "usage",
            "shop",
            "--admin",
            f"http://127.0.0.1:{again.admin_port}",
        ]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        plain = subprocess.run([*command, "--format", "json"], capture_output=True, timeout=60, check=True)

    assert "shop stable" in shown
    assert "6 evaluations" in shown
    assert json.loads(plain.stdout)["flags"][0]["units"] == 1


def test_a_kill_is_told_over_the_websocket(understudy_serve: UnderstudyServe) -> None:
    """On a real server; the stream ends with it."""
    with always().listening() as primary, always().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port))

        async def listen() -> tuple[Any, int]:
            url = f"ws://127.0.0.1:{serving.admin_port}/api/v1/stream?last_event_id=1"
            async with connect(url, proxy=None, open_timeout=PATIENCE_SECONDS) as client:
                await asyncio.to_thread(serving.admin, "/api/v1/flags/shop/kill", method="POST")
                async with asyncio.timeout(PATIENCE_SECONDS):
                    event = json.loads(await client.recv())
                async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
                    tasks.create_task(asyncio.to_thread(serving.stop))
                    tasks.create_task(client.wait_closed())
                return event, client.close_code or 0

        event, code = asyncio.run(listen())

    assert event["data"]["type"] == "refetchEvaluation"
    assert event["data"]["etag"] == f'"{event["id"]}"'
    assert code == 1001


def test_flags_that_nobody_asks_for_are_stale(understudy_serve: UnderstudyServe) -> None:
    """By what was really evaluated, of rules that are really as old; a new flag has all its time still."""
    flags = {key: flag("stable") for key in ("shop", "forgotten")}
    with always().listening() as primary:
        text = config_text(primary.port, primary.port, flags=flags, exposures={"sample": 1.0})
        serving = understudy_serve(text)
        assert serving.stop() == 0
        with closing(sqlite3.connect(serving.folder / "understudy.db")) as database, database:
            assert database.execute("UPDATE rules SET at = at - 40 * 86400").rowcount == 1

        again = understudy_serve(text, folder=serving.folder)
        fresh = {"state": "ENABLED", "variants": {"on": True}, "defaultVariant": "on"}
        assert again.admin("/api/v1/flags/fresh", method="PUT", body=fresh).status == 201
        assert ask(again.proxy_port, "/orders", "Cookie: uid=alice")[0] == 200
        usage(again, evaluations=1)
        command = [sys.executable, "-m", "understudy", "flags", "stale", "--days", "30", "--format", "json"]
        command += ["--admin", f"http://127.0.0.1:{again.admin_port}"]
        told = json.loads(subprocess.run(command, capture_output=True, timeout=60, check=True).stdout)

    unused = [one["flag"] for one in told["flags"] if "unused" in {why["kind"] for why in one["reasons"]}]
    assert (unused, told["unknown"]) == (["forgotten"], {})
