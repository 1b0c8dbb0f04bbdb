"""Applications under a real uvicorn in the test's own loop, and what the middleware counted of them."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import uvicorn

from understudy.middleware import Understudy
from understudy.middleware.request import App


@contextlib.asynccontextmanager
async def served(app: App, *, lifespan: str = "auto", proxy_headers: bool = True) -> AsyncIterator[str]:
    """*app* under uvicorn, which believes what proxies tell of *proxy_headers*, on a free port of 127.0.0.1:
    its URL."""
    # As loop.create_server makes its own: without the protocol asyncio leaves Nagle's algorithm on.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        lifespan=lifespan,  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        proxy_headers=proxy_headers,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=60,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]

    async def serve() -> None:
        try:
            await server.serve(sockets=[listener])
        except SystemExit as exit_status:
            raise RuntimeError("the application did not start") from exit_status

    with contextlib.closing(listener):
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(serve())
            while not (server.started or running.done()):
                await asyncio.sleep(0.005)
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True
                await running


def rules(variants: Mapping[str, Any], *, serves: str, **route: Any) -> dict[str, Any]:
    """A flag called ``shop`` with *variants*, of which everybody meets *serves*."""
    return {
        "flags": {"shop": {"state": "ENABLED", "variants": variants, "defaultVariant": serves}},
        "routes": [{"path": "/", "flag": "shop", **route}],
    }


def configured(services: Mapping[str, str], **more: Any) -> dict[str, Any]:
    """A configuration with *services* by URL and a store in memory."""
    return {
        "store": "memory://",
        "services": {name: {"url": url} for name, url in services.items()},
        **more,
    }


async def until_told(understudy: Understudy, what: str, *, at_least: int = 1) -> dict[str, Any]:
    """The report, once its ``what`` of all endpoints are at least so many. Raises TimeoutError."""
    async with asyncio.timeout(60):
        while True:
            report = await understudy.report()
            if sum(endpoint[what] for endpoint in report["endpoints"]) >= at_least:
                return report
            await asyncio.sleep(0.02)
