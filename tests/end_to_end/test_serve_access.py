"""Tokens and audit of a whole `understudy serve`: closed by the first token, over a restart too."""

import json
import os
import subprocess
import sys
from typing import Any

from serve_world import always, config_text, control_of, end_by_force, wait_until
from servers import Serving, UnderstudyServe


def understudy(serving: Serving, *arguments: str, token: str = "") -> subprocess.CompletedProcess[str]:
    """The command line against *serving*."""
    environ = {**os.environ, "UNDERSTUDY_ADMIN": f"http://127.0.0.1:{serving.admin_port}"}
    if token:
        environ["UNDERSTUDY_TOKEN"] = token
    command = [sys.executable, "-m", "understudy", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)


def entries(serving: Serving, token: str) -> list[dict[str, Any]]:
    """The audit, as it is exported."""
    return [
        json.loads(line) for line in understudy(serving, "audit", "export", token=token).stdout.splitlines()
    ]


def test_the_first_token_closes_the_api_for_good(understudy_serve: UnderstudyServe) -> None:
    """A kill is told with who and where; a control process that dies opens nothing and breaks no chain."""
    with always().listening() as primary, always().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port))
        assert understudy(serving, "rules", "get").returncode == 0
        text = understudy(serving, "token", "create", "ann", "--role", "admin").stdout.strip()
        assert understudy(serving, "kill", "shop").returncode == 1
        assert understudy(serving, "kill", "shop", "--reason", "a drill", token=text).returncode == 0
        told = entries(serving, text)
        assert [entry["action"] for entry in told] == ["rules.put", "token.create", "flag.kill"]
        kill = told[-1]
        assert (kill["origin"], kill["target"], kill["reason"], kill["before"], kill["after"]) == (
            "127.0.0.1",
            "shop",
            "a drill",
            1,
            2,
        )
        assert kill["who"].startswith("ann (")

        end_by_force(control_of(serving.server.process.pid, serving.admin_port))
        wait_until(lambda: understudy(serving, "rules", "get", token=text).returncode == 0, "it is back")
        assert understudy(serving, "rules", "get").returncode == 1
        verified = understudy(serving, "audit", "verify", token=text)
        assert (verified.returncode, "3 entries, all as they were written" in verified.stdout) == (0, True)
