"""The way to Redis: one server, whoever Sentinel says is the primary, or a Cluster."""

import asyncio
import functools
import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from redis import exceptions
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from understudy.config import DEFAULT_ENVIRONMENT, RedisPlace
from understudy.errors import StoreError

MOST_AT_ONCE: Final = 16
"""More than anybody here asks at once; others wait, within their deadline. Redis takes 10,000 in all."""

_MENDS: Final = {
    exceptions.AuthenticationError: "WRONGPASS",
    exceptions.NoPermissionError: "NOPERM",
    exceptions.ReadOnlyError: "READONLY",
    exceptions.BusyLoadingError: "LOADING",
    exceptions.OutOfMemoryError: "OOM",
}
"""The code of Redis's own that each of the client's errors stands for; one from a script is text."""

_WORDS: Final = {
    "WRONGPASS": "refuses user or password; look at the URL",
    "NOPERM": "does not allow this user what it needs; give it `~{key}* &{key}* +@all -@admin` (ACL SETUSER)",
    "READONLY": "is a replica; name the primary, or use redis+sentinel://",
    "LOADING": "is loading its data; try again",
    "OOM": "is full; raise maxmemory, or give Understudy a Redis of its own",
}


class RedisLink:
    """Every command has a deadline, and one that is cancelled closes its connection: a late reply would
    answer somebody else. Nothing is sent twice: who asks must learn that he does not know.
    """

    def __init__(self, place: RedisPlace, *, deadline_seconds: float) -> None:
        self.name = place.shown
        self._place = place
        self._deadline_seconds = deadline_seconds
        self._clients: list[Any] = []
        self._opening = asyncio.Lock()
        self._trouble = ""
        self._running = 0
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def key(self, name: str) -> str:
        """The key or channel called *name*: all of one store are in one slot of a Cluster."""
        return f"{{{self._place.prefix}}}:{name}"

    def within(self, environment: str, name: str) -> str:
        """What is called *name* in *environment*: those of the first keep the names they always had."""
        return name if environment == DEFAULT_ENVIRONMENT else f"environment:{environment}:{name}"

    async def open(self) -> None:
        """Connect. May be called again. Raises StoreError."""
        with self._as_store_errors():
            async with asyncio.timeout(self._deadline_seconds), self._opening:
                if self._clients:
                    return
                clients = _clients(self._place, self._deadline_seconds)
                try:
                    await clients[0].ping()
                except BaseException:
                    await _closed(clients)
                    raise
                self._clients = clients

    async def close(self) -> None:
        """Wait for what runs, then close all connections. Raises StoreError."""
        clients, self._clients, self._trouble = self._clients, [], ""
        if not clients:
            return
        with self._as_store_errors():
            async with asyncio.timeout(self._deadline_seconds):
                try:
                    await self._is_idle.wait()
                finally:
                    await _closed(clients)

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[Any]:
        """The client, within the deadline, when there is room. Raises StoreError."""
        with self._as_store_errors():
            async with asyncio.timeout(self._deadline_seconds), self._room:
                client = self._opened()
                self._running += 1
                self._is_idle.clear()
                try:
                    yield client
                finally:
                    self._running -= 1
                    if not self._running:
                        self._is_idle.set()

    @asynccontextmanager
    async def listening(self, channel: str) -> AsyncIterator[Any]:
        """A subscription to *channel*, on a connection of its own. Raises StoreError."""
        with self._as_store_errors():
            async with self._opened().pubsub() as subscription:
                async with asyncio.timeout(self._deadline_seconds):
                    await subscription.subscribe(self.key(channel))
                yield subscription

    def _opened(self) -> Any:
        if not self._clients:
            raise StoreError(self._trouble or f"store {self.name}: is not open")
        return self._clients[0]

    async def run(self, script: str, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        """Run the script *script*.lua, as a whole or not at all. Raises StoreError."""
        async with self.asking() as client:
            text, digest = _script(script)
            names = [self.key(name) for name in keys]
            try:
                return await client.evalsha(digest, len(names), *names, *arguments)
            except exceptions.NoScriptError:
                return await client.eval(text, len(names), *names, *arguments)

    @contextmanager
    def _as_store_errors(self) -> Iterator[None]:
        try:
            yield
        except (TimeoutError, exceptions.TimeoutError) as error:
            raise self._met(
                f"did not answer within {self._deadline_seconds:g} s; try again, and look at the server and"
                " at the network"
            ) from error
        except (exceptions.RedisError, exceptions.RedisClusterException, OSError) as error:
            raise self._met(self._mend(error)) from error

    def _met(self, text: str) -> StoreError:
        """The error that says *text*; while nothing is open, others are told the same."""
        text = f"store {self.name}: {text}"
        if not self._clients:
            self._trouble = text
        return StoreError(text)

    def _mend(self, error: Exception) -> str:
        text = str(error)
        code = next((code for kind, code in _MENDS.items() if isinstance(error, kind)), "")
        code = code or next((code for code in _WORDS if f"-{code} " in text), "")
        if code:
            return _WORDS[code].format(key=self.key(""))
        if "Connect call failed" in text or isinstance(error, ConnectionRefusedError):
            return "refuses connections; is Redis running there?"
        return text or type(error).__name__


@functools.cache
def _script(name: str) -> tuple[str, str]:
    """The text of a script, and the SHA-1 by which Redis knows it."""
    text = (Path(__file__).parent / "lua" / f"{name}.lua").read_text(encoding="utf-8")
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


async def _closed(clients: Sequence[Any]) -> None:
    for client in clients:
        await client.aclose()


def _clients(place: RedisPlace, deadline_seconds: float) -> list[Any]:
    """The client to ask, and others that it asks itself."""
    common: dict[str, Any] = {
        "username": place.username or None,
        "password": place.password or None,
        "socket_timeout": deadline_seconds,
        "socket_connect_timeout": deadline_seconds,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": 2 * MOST_AT_ONCE,
        **_tls(place),
    }
    if place.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in place.hosts]
        return [RedisCluster(startup_nodes=nodes, **common)]
    if place.kind == "sentinel":
        # A Sentinel that is away leaves time to ask the next.
        quick = {"socket_timeout": deadline_seconds / 4, "socket_connect_timeout": deadline_seconds / 4}
        settings = {**quick, "protocol": 2, "retry": Retry(NoBackoff(), 0), **_tls(place)}
        make: Any = Sentinel
        sentinel = make(list(place.hosts), sentinel_kwargs=settings)
        return [sentinel.master_for(place.service, db=place.database, **common), *sentinel.sentinels]
    ((host, port),) = place.hosts
    return [Redis(host=host, port=port, db=place.database, **common)]


def _tls(place: RedisPlace) -> dict[str, Any]:
    if not place.is_tls:
        return {}
    files = {"ssl_ca_certs": place.ca, "ssl_certfile": place.cert, "ssl_keyfile": place.key}
    return {"ssl": True, **{name: value for name, value in files.items() if value}}
