"""The public keys of the issuer of JSON Web Tokens: fetched apart from requests, kept while it is away."""

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Callable
from typing import Final

from understudy.access.trust import Claims, Key, Trust, read_keys, verify

log = logging.getLogger("understudy.control")

EVERY_SECONDS: Final = 300.0
AGAIN_SECONDS: Final = 10.0
"""How soon after a fetch a key that is not known causes another: forged names cannot make us a nuisance."""
FETCH_SECONDS: Final = 5.0
WAIT_SECONDS: Final = 2.0
"""What a request with a new key waits at most."""
KEPT_SECONDS: Final = 24 * 3600.0
"""How long keys are believed that could not be confirmed: an issuer may be away for a night."""
_MOST_BYTES: Final = 256 * 1024


class Issuer:
    """Whom to trust, and with which keys."""

    def __init__(self, trust: Trust, keys_url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.trust = trust
        self._url = keys_url
        self._clock = clock
        self._keys: dict[str, Key] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._wanted = asyncio.Event()
        self._tried = asyncio.Event()

    def verify(self, text: str, now: float) -> Claims:
        """What the token *text* says, if it is to be believed. Raises: NotTrusted."""
        is_fresh = self._clock() - self._fetched_at < KEPT_SECONDS
        return verify(text, self._keys if is_fresh else {}, self.trust, now)

    async def learn(self) -> None:
        """Have the keys fetched again, unless that was just done; waits ``WAIT_SECONDS`` at most for them."""
        if self._clock() - self._tried_at < AGAIN_SECONDS:
            return
        self._tried.clear()
        self._wanted.set()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._tried.wait()
        except TimeoutError:
            pass

    async def run(self) -> None:
        """Fetch the keys now, every five minutes, and when one is wanted, for ever."""
        while True:
            await self.refresh()
            self._tried.set()
            self._wanted.clear()
            try:
                async with asyncio.timeout(EVERY_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                pass

    async def refresh(self) -> None:
        """Fetch the keys once. Failing is logged: those that were known go on being believed for a day."""
        # Takes a sixth of a second, which a start without an issuer need not wait for.
        import httpx

        self._tried_at = self._clock()
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                self._keys = read_keys(json.loads(await self._fetched()))
        except (httpx.HTTPError, OSError, ValueError, RecursionError, TimeoutError) as error:
            why = " ".join(str(error).split()) or type(error).__name__
            log.error("the keys of the issuer could not be had from %s: %s", self._url, why)
        else:
            self._fetched_at = self._clock()

    async def _fetched(self) -> bytes:
        """Raises: ValueError for another answer than a short 200."""
        import httpx

        context = ssl.create_default_context()
        # No redirects and no proxies of the environment: the configuration says who is asked.
        async with (
            httpx.AsyncClient(verify=context, trust_env=False, timeout=FETCH_SECONDS) as client,
            client.stream("GET", self._url, headers={"Accept": "application/json"}) as answer,
        ):
            if answer.status_code != 200:
                raise ValueError(f"it answered {answer.status_code}")
            body = b""
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > _MOST_BYTES:
                    raise ValueError(f"its answer is larger than {_MOST_BYTES:,} bytes")
        return body
