"""The admin API of a control process as a store: its rules are followed, what happened here is sent to it."""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson

from understudy.config.address import is_loopback
from understudy.errors import ConfigError, Problem, StoreError
from understudy.store import Exposures, Key, MemoryStore, Sample, StoredRules
from understudy.store.condition import HISTORY_FIELD, Condition
from understudy.store.rules import stored_rules

CONNECT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 10.0
EVERY_SECONDS: Final = 1.0
"""How often it is asked for newer rules; with an ETag that costs both sides next to nothing."""

REFUSED: Final = frozenset({400, 413, 415, 422})
"""It will never take this batch."""

MOST_LEFT: Final = 64
"""Control processes before, whose late answers are known as such."""

SILENT_SECONDS: Final = 30.0
"""Without an answer of the control process that is followed it is gone, and one before it is not late: three
times as long as an answer may take."""

ROWS: Final = 1000
"""Exposures that it takes at once, of a MiB at most."""
ROWS_BYTES: Final = 512 * 1024


class ControlStore(MemoryStore):
    """What a middleware needs of a store, at *url*; what it has sent is kept in memory for its own report."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__()
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http: httpx.AsyncClient | None = None
        self._known: StoredRules | None = None
        self._history = ""
        self._heard_at = -math.inf
        self._left: dict[str, int] = {}
        """Histories that were followed before, with the version that each had then; the last one last."""
        self._histories = 0

    def condition(self) -> Condition:
        """See Store.condition."""
        return Condition(histories=self._histories)

    async def open(self) -> None:
        """See Store.open."""
        await super().open()
        if self._http is None:
            # No environment proxies: the token goes to nobody else.
            self._http = httpx.AsyncClient(
                base_url=self._url,
                headers=self._headers,
                timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
                trust_env=False,
            )
        await self.rules()

    async def close(self) -> None:
        """See Store.close."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()
        await super().close()

    async def rules(self) -> StoredRules:
        """See Store.rules."""
        known = self._known
        headers = {} if known is None else {"If-None-Match": f'"{known.version}"'}
        answer = await self._ask("GET", "/api/v1/rules", headers=headers)
        if answer.status_code == 304 and known is not None:
            if not self._is_other(answer):
                self._heard_at = time.monotonic()
                return known
            answer = await self._ask("GET", "/api/v1/rules")  # it has others under that version
        self._check(answer)
        return self._taken(answer)

    def _is_other(self, answer: httpx.Response) -> bool:
        """Whether its versions are not those known: they began anew with a run, or are another store's."""
        return self._known is not None and answer.headers.get(HISTORY_FIELD, "") != self._history

    def _taken(self, answer: httpx.Response) -> StoredRules:
        """What is in force by *answer*. Raises StoreError."""
        try:
            version = int(answer.headers["etag"].removeprefix("W/").strip('"'))
        except (KeyError, ValueError):
            raise StoreError(
                f"{self._url} is no admin API of Understudy: its rules have no version"
            ) from None
        told = stored_rules(
            version=version, text=answer.text, author="control process", reason="", at=time.time()
        )
        history = answer.headers.get(HISTORY_FIELD, "")
        if self._known is not None and self._is_other(answer):
            if self._is_late(history, version):
                return self._known
            self._leave(self._known.version)
        self._known, self._history, self._heard_at = told, history, time.monotonic()
        return told

    def _is_late(self, history: str, version: int) -> bool:
        """Whether a process said this that is being replaced, and answers still."""
        left_at = self._left.get(history)
        is_gone = time.monotonic() - self._heard_at > SILENT_SECONDS
        return left_at is not None and version <= left_at and not is_gone

    def _leave(self, version: int) -> None:
        self._left.pop(self._history, None)
        self._left[self._history] = version
        if len(self._left) > MOST_LEFT:
            del self._left[next(iter(self._left))]
        self._histories += 1

    async def version(self) -> int:
        """See Store.version."""
        return (await self.rules()).version

    async def newer(self, than: int, *, seconds: float) -> StoredRules | None:
        """See Store.newer."""
        until, histories = time.monotonic() + seconds, self._histories
        while True:
            found = await self.rules()
            if found.version > than or self._histories != histories:
                return found
            if time.monotonic() >= until:
                return None
            await asyncio.sleep(EVERY_SECONDS)

    async def put_rules(self, *_given: Any, **_named: Any) -> StoredRules:
        """Rules are changed where they are kept. Raises StoreError."""
        raise StoreError(f"rules are changed at {self._url}, not by an application that follows them")

    async def add_evidence(
        self, *, source: str, sequence: int, counts: Mapping[Key, int], samples: Sequence[Sample]
    ) -> bool:
        """See Store.add_evidence."""
        batch = {
            "source": source,
            "sequence": sequence,
            "counts": [[*key, n] for key, n in counts.items() if n],
            "samples": [_plain(sample) for sample in samples],
        }
        body = orjson.dumps(batch, option=orjson.OPT_NON_STR_KEYS)
        headers = {"Content-Type": "application/json"}
        answer = await self._ask("POST", "/api/v1/evidence", content=body, headers=headers)
        if answer.status_code in REFUSED:
            raise ValueError(self._said(answer))
        self._check(answer)
        await super().add_evidence(source=source, sequence=sequence, counts=counts, samples=samples)
        return bool(answer.json().get("added"))

    async def add_exposures(self, exposures: Exposures, *, batch: str) -> bool:
        """See ExposureStore.add_exposures, but for units, which are named there: as they are, here.

        Raises ValueError when it will never take them.
        """
        is_new = False
        for number, rows in enumerate(pieces(exposure_rows(exposures))):
            # The same pieces under the same names when it is tried again: those that it has, count once.
            body = orjson.dumps({"exposures": rows, "batch": f"{batch} {number}"})
            headers = {"Content-Type": "application/json"}
            answer = await self._ask("POST", "/api/v1/exposures", content=body, headers=headers)
            if answer.status_code in REFUSED:
                raise ValueError(self._said(answer))
            self._check(answer)
            is_new = not answer.json().get("repeated") or is_new
        return is_new

    async def expire_exposures(self, *, before: float, most: int = 0) -> None:
        """See ExposureStore.expire_exposures: it does so by itself, by its own retention."""

    async def secret(self, name: str) -> bytes:
        """See Store.secret: the one that units are named with is the control process's."""
        answer = await self._ask("GET", "/api/v1/evidence")
        self._check(answer)
        try:
            return bytes.fromhex(answer.json()["units"])
        except (KeyError, ValueError, TypeError):
            raise StoreError(f"{self._url} is no admin API of Understudy: it names no {name}") from None

    async def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        if self._http is None:
            raise StoreError(f"store {self._url}: is not open")
        try:
            return await self._http.request(method, path, **request)
        except (httpx.HTTPError, OSError) as error:
            why = str(error) or type(error).__name__
            raise StoreError(f"no answer from {self._url}: {why} (is `understudy serve` running?)") from None

    def _check(self, answer: httpx.Response) -> None:
        if answer.status_code != 200:
            raise StoreError(self._said(answer))

    def _said(self, answer: httpx.Response) -> str:
        """What is wrong, in its words, and the mend."""
        try:
            detail = str(answer.json()["detail"])
        except (KeyError, ValueError, TypeError):
            detail = "that is no answer of an admin API"
        needs_token = answer.status_code in (401, 403)
        mend = " (give a token that may operate: `understudy token create`)" if needs_token else ""
        return f"{self._url} answered {answer.status_code}: {detail}{mend}"


def check_admin(url: str, token: str = "") -> str:
    """*url* without a slash at its end. Raises ConfigError when *token* may not be sent there, or nowhere."""
    if not (token.isascii() and token.strip() == token and (token.isprintable() or not token)):
        # Without its text, which an error of the connection would tell.
        hint = "read it without the line's end"
        message = "holds what no token does: blanks or a line's end around it, or no ASCII"
        raise ConfigError((Problem(path="token", message=message, hint=hint),))
    parts = urlsplit(url.rstrip("/"))
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query:
        problem = Problem(
            path="admin", message=f"{url!r} is no admin API", hint="for example http://127.0.0.1:9090"
        )
        raise ConfigError((problem,))
    if parts.scheme == "http" and not _is_here(parts.hostname):
        hint = "reach it through https:// or a tunnel to this machine"
        problem = Problem(
            path="admin", message=f"{url}: a token would travel over a network in the clear", hint=hint
        )
        raise ConfigError((problem,))
    return url.rstrip("/")


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return is_loopback(f"{host}:80")
    except ValueError:
        return False


def _plain(sample: Sample) -> dict[str, Any]:
    return {
        "service": sample.service,
        "endpoint": sample.endpoint,
        "path": sample.path,
        "kind": sample.kind,
        "name": sample.name,
        "unit": sample.unit,
        "priority": sample.priority,
        "at": sample.at,
        "body": sample.body,
        "whole": sample.whole,
    }


def exposure_rows(exposures: Exposures) -> list[dict[str, Any]]:
    """What the admin API takes: evaluations by hour, and units without any, if JSON can say them.

    A claim of a token may be half a character.
    """
    counts = [
        {
            "flag": flag,
            "variant": variant,
            "at": min((hour + 1) * 3600.0 - 1.0, exposures.at),
            "evaluations": n,
        }
        for (flag, variant, hour), n in exposures.counts.items()
    ]
    units = [
        {"flag": met.flag, "variant": met.variant, "unit": met.unit, "at": met.at, "evaluations": 0}
        for met in exposures.units
        if is_sayable(met.unit)
    ]
    return counts + units


def is_sayable(text: str) -> bool:
    """Whether *text* can be written as JSON: no half of a surrogate pair stands alone in it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def pieces(rows: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """*rows* in lists that it takes at once."""
    found: list[list[dict[str, Any]]] = []
    size = ROWS_BYTES
    for row in rows:
        row_bytes = len(orjson.dumps(row)) + 1
        if size + row_bytes > ROWS_BYTES or len(found[-1]) == ROWS:
            found.append([])
            size = 0
        found[-1].append(row)
        size += row_bytes
    return found
