"""HTTP to the server: each answer within a deadline and bounds; redirects are not followed."""

import asyncio
import json
import math
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from understudy.client.definition import Origin
from understudy.client.trouble import StreamTrouble, Trouble

MOST_BODY_BYTES: Final = 64 * 1024 * 1024
"""Of an answer, decoded: ten times the definition of 20,000 flags."""
MOST_AT_ONCE: Final = 16
"""Questions under way; others wait for their turn."""
BODY_TIMES: Final = 6
"""How much longer a whole answer may take than its head, however steadily it trickles: half a minute."""
_SYNC: Final = "/api/v1/sync/flags.json?whole=true"
_EVENTS: Final = "/ofrep/v1/sse"
_EVALUATE: Final = "/ofrep/v1/evaluate/flags"
_EXPOSURES: Final = "/api/v1/exposures"
_KEPT_ALIVE_SECONDS: Final = 4.0
"""The server closes after 5 s: a question on a connection that is just being closed would be lost."""
_MOST_TAG_CHARACTERS: Final = 1024
_CUT_BYTES: Final = 64 * 1024

Token = str | Callable[[], str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the server said: a status, the fields of its head (lower case), and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def origin(self) -> Origin:
        """Where a definition is from."""
        return Origin(
            tag=self.headers.get("etag", ""),
            version=_version(self.headers.get("x-understudy-version")),
            stored_at=_seconds(self.headers.get("x-understudy-stored-at")),
        )

    def json(self) -> Any:
        """The body as JSON. Raises: Trouble."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise Trouble("the answer is not JSON", status=self.status) from None


class Wire:
    """A connection pool to the server at *url*; lives on one event loop, within ``async with``.

    *token* is text, or a function that gives the one to show now; it must not wait. Every answer's head comes
    within *timeout_seconds*, and so does each piece of its body; else Trouble.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token,
        flag_set: str,
        timeout_seconds: float,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._timeout = timeout_seconds
        self._selector = {"Flagd-Selector": f"flagSetId={flag_set}"} if flag_set else {}
        self._http = httpx.AsyncClient(
            timeout=None,  # noqa: S113  # each wait has its own deadline below
            follow_redirects=False,
            trust_env=False,
            verify=verify,
            limits=httpx.Limits(
                max_connections=None, max_keepalive_connections=4, keepalive_expiry=_KEPT_ALIVE_SECONDS
            ),
        )
        # Not the pool's own limit: whoever gives up while it waits there may take a connection with it,
        # for good (httpcore 1.0.9), and after as many nothing is ever answered again.
        self._places = asyncio.Semaphore(MOST_AT_ONCE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def definition(self, tag: str) -> Answer:
        """The definition; status 304 when it still is the one with entity tag *tag*. Raises: Trouble."""
        return await self._ask("GET", _SYNC, fields=_known(tag), wanted=(200, 304))

    async def look(self) -> None:
        """Whether flags may be asked here. Raises: Trouble."""
        answer = await self._ask("HEAD", _EVENTS, wanted=(200,))
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            raise Trouble(f"{self._url}: the answer is not of an Understudy; is something in between?")

    async def evaluate(self, key: str, context: bytes) -> Answer:
        """What OFREP answers for one flag; *context* is JSON. Raises: Trouble."""
        path = f"{_EVALUATE}/{quote(key, safe='')}"
        return await self._ask("POST", path, body=b'{"context":%b}' % context, wanted=(200, 400, 404))

    async def evaluate_all(self, context: bytes, tag: str) -> Answer:
        """What OFREP answers for all flags; status 304 as above. Raises: Trouble."""
        body = b'{"context":%b}' % context
        return await self._ask("POST", _EVALUATE, body=body, fields=_known(tag), wanted=(200, 304))

    async def expose(self, batch: Mapping[str, Any]) -> None:
        """Hand over a batch of exposures. Raises: Trouble."""
        body = json.dumps(batch).encode()
        await self._ask("POST", _EXPOSURES, body=body, wanted=(200, 201, 202, 204))

    @asynccontextmanager
    async def events(self, last_id: str) -> AsyncIterator["Pieces"]:
        """The stream of changes, for as long as the server keeps it. Raises: StreamTrouble."""
        fields = {"Accept": "text/event-stream", "Cache-Control": "no-cache", "Accept-Encoding": "identity"}
        if last_id:
            fields["Last-Event-ID"] = last_id
        try:
            answer = await self._head("GET", _EVENTS, fields=fields)
        except Trouble as trouble:
            raise StreamTrouble(str(trouble)) from None
        try:
            kind = answer.headers.get("content-type", "")
            if answer.status_code != 200 or not kind.startswith("text/event-stream"):
                refused = _refusal(answer, b"no stream of changes")
                raise StreamTrouble(
                    str(refused), status=refused.status, retry_after_seconds=refused.retry_after_seconds
                )
            yield Pieces(answer.aiter_raw())
        finally:
            await _closed(answer)

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        wanted: tuple[int, ...],
        body: bytes | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Answer:
        own = {"Content-Type": "application/json"} if body is not None else {}
        coding = {"Accept-Encoding": "gzip"}
        async with self._place():
            answer = await self._head(method, path, body=body, fields={**coding, **own, **(fields or {})})
            try:
                async with asyncio.timeout(BODY_TIMES * self._timeout):
                    content = await self._body(answer)
            except TimeoutError:
                raise Trouble(f"{self._url}: the answer did not come whole in time") from None
            finally:
                await _closed(answer)
        if answer.status_code not in wanted:
            raise _refusal(answer, content)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(status=answer.status_code, headers=headers, body=content)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """One of the places for questions. Raises: Trouble when none is free in time."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._places.acquire()
        except TimeoutError:
            raise Trouble(f"{self._url}: {MOST_AT_ONCE} questions are not answered yet") from None
        try:
            yield
        finally:
            self._places.release()

    async def _head(
        self, method: str, path: str, *, fields: Mapping[str, str], body: bytes | None = None
    ) -> httpx.Response:
        """The answer, with its body still to be read."""
        headers = {**self._selector, **self._shown(), **fields}
        try:
            request = self._http.build_request(method, self._url + path, content=body, headers=headers)
            async with asyncio.timeout(self._timeout):
                return await self._http.send(request, stream=True)
        except TimeoutError:
            raise Trouble(f"{self._url}: no answer within {self._timeout:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError, ValueError) as error:
            raise Trouble(f"{self._url}: {_what(error)}") from None

    def _shown(self) -> dict[str, str]:
        try:
            token = self._token() if callable(self._token) else self._token
        except Exception as error:  # noqa: BLE001  # the application's own function
            raise Trouble(f"there is no token: {_what(error)}") from None
        what = wrong_token(token)
        if what:
            raise Trouble(f"the function that gives the token gave what {what}")
        return {"Authorization": f"Bearer {token}"} if token else {}

    async def _body(self, answer: httpx.Response) -> bytes:
        coding = answer.headers.get("content-encoding", "identity").lower()
        if coding not in ("identity", "gzip"):
            raise Trouble(f"{self._url}: the answer is coded as {coding!r}, which was not asked for")
        body = _Body(is_gzip=coding == "gzip")
        pieces = answer.aiter_raw()
        try:
            while True:
                async with asyncio.timeout(self._timeout):
                    piece = await anext(pieces, None)
                if piece is None:
                    return body.whole()
                body.add(piece)
        except (httpx.HTTPError, OSError, zlib.error) as error:
            raise Trouble(f"{self._url}: the answer broke off: {_what(error)}") from None


class Pieces:
    """An endless answer, as it comes."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    async def next(self, seconds: float) -> bytes:
        """The next piece; empty at the end.

        Raises: StreamTrouble after *seconds* of silence, and when it breaks.
        """
        try:
            async with asyncio.timeout(seconds):
                return await anext(self._pieces, b"")
        except TimeoutError:
            raise StreamTrouble(f"the server was silent for {seconds:g} s") from None
        except (httpx.HTTPError, OSError) as error:
            raise StreamTrouble(f"the stream of changes broke: {_what(error)}") from None


class _Body:
    """A body as it comes; never larger than it may be, whatever its coding unfolds to."""

    def __init__(self, *, is_gzip: bool) -> None:
        self._unfolding = zlib.decompressobj(wbits=31) if is_gzip else None
        self._content = bytearray()

    def add(self, piece: bytes) -> None:
        """Raises: Trouble, zlib.error."""
        room = MOST_BODY_BYTES + 1 - len(self._content)
        self._content += self._unfolding.decompress(piece, room) if self._unfolding else piece
        if len(self._content) > MOST_BODY_BYTES:
            raise Trouble(f"the answer is larger than {MOST_BODY_BYTES:,} bytes")

    def whole(self) -> bytes:
        """The body, when nothing more comes. Raises: Trouble when there should have been more."""
        if self._unfolding is not None and self._content and not self._unfolding.eof:
            raise Trouble("the answer broke off")
        return bytes(self._content)


def _known(tag: str) -> dict[str, str]:
    """What tells the server that the answer with *tag* is known; one that no field can hold is not said."""
    is_sayable = tag.isascii() and tag.isprintable() and len(tag) <= _MOST_TAG_CHARACTERS
    return {"If-None-Match": tag} if tag and is_sayable else {}


def wrong_token(token: object) -> str:
    """What is wrong with *token*, without its text: that would stand in logs. Empty when nothing is."""
    if not isinstance(token, str | None):
        return f"is no text, but {type(token).__name__}"
    if token is not None and not (token.isascii() and token.isprintable() and token.strip() == token):
        return "holds what no token does: blanks or a line's end around it, or no ASCII"
    return ""


async def _closed(answer: httpx.Response) -> None:
    try:
        async with asyncio.timeout(1):
            await answer.aclose()
    except (TimeoutError, httpx.HTTPError, OSError):
        pass  # it is not used again


def _refusal(answer: httpx.Response, content: bytes) -> Trouble:
    status, after = answer.status_code, answer.headers.get("retry-after", "")
    hint = {401: "the token is missing, revoked or has expired", 403: "the token may not do this"}
    said = hint.get(status) or _detail(content)
    seconds = _retry_seconds(after, time.time())
    message = f"{answer.request.url.copy_with(query=None)}: status {status}{f': {said}' if said else ''}"
    return Trouble(message, status=status, retry_after_seconds=seconds)


def _retry_seconds(after: str, now: float) -> float:
    """What a Retry-After field says: seconds, or a date (RFC 9110, 10.2.3); 0 when it says neither."""
    if after.isascii() and after.isdigit():
        return float(after[:9])
    try:
        return max(0.0, parsedate_to_datetime(after).timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0


def _detail(content: bytes) -> str:
    """What a problem document (RFC 9457) says, or the beginning of a text."""
    try:
        found = json.loads(content[:_CUT_BYTES])
        said = found.get("detail") or found.get("errorDetails") or ""
    except (ValueError, AttributeError, RecursionError):
        said = content[:200].decode("utf-8", "replace")
    return " ".join(str(said).split())[:200]


def _what(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__


def _version(text: str | None) -> int | None:
    is_number = text is not None and text.isascii() and text.isdigit() and len(text) < 19
    return int(text) if text is not None and is_number else None


def _seconds(text: str | None) -> float | None:
    try:
        found = float(text or "nan")
    except ValueError:
        return None
    return found if math.isfinite(found) else None
