"""Who is asked for canaries, copies and controls: services, or the application in this process."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from understudy.config import APP, Ejection, Service, Settings
from understudy.config.app import NOWHERE
from understudy.middleware.inner import Inner
from understudy.middleware.request import App
from understudy.upstream import Delegate, Upstream, UpstreamMaker, delegate_pool
from understudy.upstream.pool import Spawn

if TYPE_CHECKING:
    from understudy.middleware.client import Session

OWN: Final = "understudy"
AIOHTTP: Final = "aiohttp"
CLIENTS: Final = (OWN, AIOHTTP)
"""Who carries copies: the proxy's own client, or aiohttp, which costs an application more (decision 0024)."""


class Services:
    """Makes the pools of one event loop: `pool` is an engine's `PoolMaker`, *maker* that of services.

    *app* gives the application, *client* is one of `CLIENTS`.
    """

    def __init__(
        self,
        maker: UpstreamMaker,
        *,
        loop: asyncio.AbstractEventLoop,
        spawn: Spawn,
        clock: Callable[[], float],
        app: Callable[[], App | None],
        client: str,
    ) -> None:
        self._maker = maker
        self._loop = loop
        self._spawn = spawn
        self._clock = clock
        self._app = app
        self._client = client
        self._sessions: list[Session] = []

    def pool(
        self, name: str, service: Service, role: str, limit: int, on_change: Callable[[str], None]
    ) -> Upstream:
        """Connections to *service*, or calls of what stands for them."""
        app = self._app() if name == APP else None
        if app is not None:
            delegate: Delegate = Inner(app)
        elif self._client == AIOHTTP and role != "primary":
            delegate = self._session(service)
        else:
            return self._maker(name, service, role, limit, on_change)
        return delegate_pool(
            name,
            service,
            delegate,
            limit=limit,
            loop=self._loop,
            spawn=self._spawn,
            clock=self._clock,
            on_change=on_change,
        )

    async def close(self) -> None:
        """Close what client libraries hold open."""
        for session in self._sessions:
            await session.close()

    def _session(self, service: Service) -> Delegate:
        from understudy.middleware.client import Session  # a fifth of a second that only who wants it pays

        session = Session(service)
        self._sessions.append(session)
        return session


def with_app_service(settings: Settings) -> Settings:
    """*settings* in which ``app`` is a service that is asked in this process, so never checked or ejected."""
    known = settings.services.get(APP) or Service(url=NOWHERE)
    app = replace(known, origins=(), url=known.all_origins[0], health=None, eject=Ejection(failures=0))
    return replace(settings, services={**settings.services, APP: app})
