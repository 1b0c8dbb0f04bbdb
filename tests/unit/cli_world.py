"""Commands against a real admin server on a real socket, in front of a control plane in memory."""

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from typer.testing import CliRunner

from understudy.admin import Change, Readiness, Reload, Succession
from understudy.cli import app
from understudy.config import Rules, parse_rules
from understudy.errors import FlagNotFound, VersionConflict
from understudy.store import Sample, StoredRules

FLAG = {"state": "ENABLED", "variants": {"on": {"serve": "v1"}}, "defaultVariant": "on"}
DOCUMENT: dict[str, Any] = {
    "flags": {"shop": FLAG},
    "routes": [{"path": "/", "flag": "shop"}],
    "compare": [],
    "killed": [],
}
REPORT: dict[str, Any] = {
    "verdict": "regression",
    "exchanges": 3,
    "with_control": 1,
    "mirror": {"eligible": 3, "sent": 3, "skipped": {}, "dropped": {}, "answered": 3, "failed": {}},
    "endpoints": [],
}


def _stored(version: int, document: Any, reason: str = "") -> StoredRules:
    return StoredRules(
        version=version, document=document, author="test", reason=reason, at=0.0, sha256="ab" * 32
    )


@dataclass
class Plane:
    """A control plane in memory that checks rules as the real one does."""

    current: StoredRules = field(default_factory=lambda: _stored(7, DOCUMENT))
    evidence: dict[str, Any] = field(default_factory=lambda: dict(REPORT))
    applied: int = 2
    reloaded: Reload = field(
        default_factory=lambda: Reload(
            changed=("services", "limits"), waiting=(), notes=(), workers=2, applied=2
        )
    )
    samples: dict[str, Sample] = field(default_factory=dict)
    failure: Exception | None = None
    succession: Succession = field(default_factory=Succession)

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def rules(self) -> StoredRules:
        self._fail()
        return self.current

    async def newest(self) -> StoredRules:
        return await self.rules()

    async def history(self, *, limit: int) -> list[StoredRules]:
        return [self.current][:limit]

    async def past(self, version: int) -> StoredRules | None:
        return self.current if version == self.current.version else None

    async def rules_at(self, at: float) -> StoredRules | None:
        return self.current if self.current.at <= at else None

    async def check_rules(self, document: Any) -> Rules:
        self._fail()
        return parse_rules(document, services=["v1"])

    def services(self) -> list[dict[str, Any]]:
        return []

    async def put_rules(
        self,
        document: Any,
        *,
        expected: int | None,
        author: str,
        reason: str,
        origin: str = "",
        action: str = "rules.put",
        target: str = "",
    ) -> Change:
        self._fail()
        rules = parse_rules(document, services=["v1"])
        if expected not in (None, self.current.version):
            raise VersionConflict(expected=expected or 0, actual=self.current.version)
        return self._store(rules.document, reason)

    async def kill(self, flag: str, *, author: str, reason: str, origin: str = "") -> Change:
        self._fail()
        if flag not in self.current.document["flags"]:
            raise FlagNotFound(flag, tuple(self.current.document["flags"]))
        return self._store({**self.current.document, "killed": [flag]}, reason)

    async def revive(self, flag: str, *, author: str, reason: str, origin: str = "") -> Change:
        return self._store({**self.current.document, "killed": []}, reason)

    def _store(self, document: Any, reason: str) -> Change:
        self.current = _stored(self.current.version + 1, document, reason)
        return Change(rules=self.current, workers=2, applied=self.applied)

    async def reload(self) -> Reload:
        self._fail()
        return self.reloaded

    async def restart_workers(self) -> int:
        self._fail()
        return 2

    async def report(self) -> dict[str, Any]:
        self._fail()
        return self.evidence

    async def sample(self, name: str) -> Sample | None:
        return self.samples.get(name)

    async def forget_samples(self, *, unit: str | None, author: str = "", origin: str = "") -> int:
        return 2 if unit == "alice" else 5 if unit is None else 1

    def revision(self) -> int:
        return 0

    async def clear_evidence(self, *, author: str = "", origin: str = "") -> None:
        self.evidence = {}

    def metrics(self) -> bytes:
        return b""

    def readiness(self) -> Readiness:
        return Readiness(ready=True, checks={})


async def _nothing() -> None:
    """There is nothing to begin with."""


@contextmanager
def served(admin: Starlette, *, begin: Callable[[], Awaitable[None]] = _nothing) -> Iterator[str]:
    """*admin* on a socket, in a thread, after *begin* in its loop; its address."""
    # Listening before the server runs: the first request waits in the backlog, so nothing needs to sleep.
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(admin, lifespan="off", ws="none", log_config=None, loop="asyncio"))

    async def serve() -> None:
        await begin()
        await server.serve(sockets=[listener])

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()


def forget_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests does not matter."""
    for name in [name for name in os.environ if name.startswith("UNDERSTUDY_")]:
        monkeypatch.delenv(name)


def run(*arguments: str, **more: Any) -> Any:
    """The result of ``understudy`` with *arguments*."""
    result = CliRunner().invoke(app, list(arguments), **more)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result
