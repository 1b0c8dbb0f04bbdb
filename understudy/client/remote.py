"""Flags evaluated by the server, over OFREP, for applications that may not hold the rules."""

import asyncio
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from understudy.client.definition import missing
from understudy.client.trouble import MOST_RETRY_SECONDS, Trouble
from understudy.client.wire import Wire
from understudy.decide import Evaluation

MOST_ANSWERS: Final = 10_000
"""Answers kept for one flag and one context each: about 10 MiB."""
MOST_BULKS: Final = 64
"""Answers kept for all flags and one context each."""
MOST_ANSWER_BYTES: Final = 32 * 1024 * 1024
"""Of the answers kept of each kind, with their contexts, as JSON."""
_OF_EACH_BYTES: Final = 1024
"""What an answer takes beside its text."""
REST_SECONDS: Final = 1.0
"""After trouble the server is left alone for so long, then looked for: a page with fifty flags waits once."""
MOST_REST_SECONDS: Final = 8.0
"""The rest is twice as long each time that it is not there."""

A = TypeVar("A")
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept(Generic[V]):
    answer: V
    tag: str
    turn: int
    at: float
    size: int = 0


class _Answers(Generic[V]):
    """The answers used last, up to *most* and `MOST_ANSWER_BYTES`; safe to use from several threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, bytes], _Kept[V]] = OrderedDict()
        self._size = 0

    def get(self, key: tuple[str, bytes]) -> _Kept[V] | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: tuple[str, bytes], answer: _Kept[V]) -> None:
        with self._lock:
            before = self._kept.pop(key, None)
            self._size += answer.size - (before.size if before is not None else 0)
            self._kept[key] = answer
            while len(self._kept) > self._most or (self._size > MOST_ANSWER_BYTES and len(self._kept) > 1):
                _, oldest = self._kept.popitem(last=False)
                self._size -= oldest.size


class Remote:
    """Asks the server, and gives its last answer again while nothing has changed, or while it is away.

    An answer is asked for anew after a change that the server tells of, and after *fresh_seconds* (rules may
    look at the clock; a change may not be told of). *changed* is told of changes: which flags, nobody says.
    After trouble no question waits for the server until `recover` has seen that it is there again.
    """

    version: int | None = None
    """Nobody tells."""

    def __init__(
        self, *, fresh_seconds: float, answer_seconds: float, changed: Callable[[frozenset[str]], None]
    ) -> None:
        self._fresh_seconds = fresh_seconds
        self._answer_seconds = answer_seconds
        self._changed = changed
        self._turn = 0
        self._rest_seconds, self._put_off_until = REST_SECONDS, 0.0
        self._troubled = asyncio.Event()
        self.renew()

    def renew(self) -> None:
        """Begin anew, in a forked process: a lock may be held there by a thread that is not."""
        self._one: _Answers[Evaluation] = _Answers(MOST_ANSWERS)
        self._all: _Answers[Mapping[str, Evaluation]] = _Answers(MOST_BULKS)

    async def refresh(self, wire: Wire) -> None:
        """See Source.refresh: whether it is there, and lets us ask."""
        await wire.look()
        self._recovered()

    async def recover(self, wire: Wire) -> None:
        """Look for the server after each trouble until it is there; until this is cancelled."""
        self._rest_seconds, self._put_off_until = REST_SECONDS, 0.0
        self._troubled = asyncio.Event()  # of this loop
        while True:
            await self._troubled.wait()
            await asyncio.sleep(max(self._rest_seconds, self._put_off_until - time.monotonic()))
            try:
                await self._in_time(wire.look())
            except Exception:  # noqa: BLE001  # looking is isolated: whatever it is, it is no recovery
                self._rest_seconds = min(2 * self._rest_seconds, MOST_REST_SECONDS)
            else:
                self._recovered()

    def turned(self) -> None:
        """See Source.turned: no answer is fresh any more."""
        self._turn += 1
        self._changed(frozenset())

    def fresh(self, flag: str, context: bytes) -> Evaluation | None:
        """The answer that need not be asked for again, if there is one."""
        kept = self._one.get((flag, context))
        return kept.answer if kept is not None and self._is_fresh(kept) else None

    def last(self, flag: str, context: bytes) -> Evaluation | None:
        """The last answer, fresh or not, if there is one."""
        kept = self._one.get((flag, context))
        return kept.answer if kept is not None else None

    def last_all(self, context: bytes) -> Mapping[str, Evaluation]:
        """As `last`, for all flags; nothing when the server never said."""
        kept = self._all.get(("", context))
        return kept.answer if kept is not None else {}

    async def evaluate(self, wire: Wire | None, flag: str, context: bytes) -> Evaluation:
        """What flag *flag* answers: fresh, else asked for, else as it was last. Never raises."""
        key = (flag, context)
        kept = self._one.get(key)
        if kept is not None and self._is_fresh(kept):
            return kept.answer
        turn = self._turn
        try:
            answer = await self._in_time(self._asking(wire).evaluate(flag, context))
            found = _evaluation(answer.json())
        except Trouble as trouble:
            self._failed(trouble)
            return kept.answer if kept is not None else missing(_code(trouble), str(trouble))
        size = _OF_EACH_BYTES + len(flag) + len(context) + len(answer.body)
        self._one.put(key, _Kept(answer=found, tag="", turn=turn, at=time.monotonic(), size=size))
        return found

    async def evaluate_all(self, wire: Wire | None, context: bytes) -> Mapping[str, Evaluation]:
        """What all flags answer; nothing when the server never said. Never raises."""
        key = ("", context)
        kept = self._all.get(key)
        if kept is not None and self._is_fresh(kept):
            return kept.answer
        turn = self._turn
        try:
            tag = kept.tag if kept is not None else ""
            answer = await self._in_time(self._asking(wire).evaluate_all(context, tag))
            found = kept.answer if kept is not None and answer.status == 304 else _bulk(answer.json())
        except Trouble as trouble:
            self._failed(trouble)
            return kept.answer if kept is not None else {}
        tag = answer.headers.get("etag", "")
        size = (
            _OF_EACH_BYTES + len(context) + len(answer.body)
            if answer.status != 304 or kept is None
            else kept.size
        )
        self._all.put(key, _Kept(answer=found, tag=tag, turn=turn, at=time.monotonic(), size=size))
        return found

    def _is_fresh(self, kept: "_Kept[Any]") -> bool:
        return kept.turn == self._turn and time.monotonic() - kept.at < self._fresh_seconds

    async def _in_time(self, asked: Coroutine[Any, Any, A]) -> A:
        """Somebody waits for this one: head and body together. Raises: Trouble."""
        try:
            async with asyncio.timeout(self._answer_seconds):
                return await asked
        except TimeoutError:
            raise Trouble(f"no whole answer within {self._answer_seconds:g} s") from None

    def _asking(self, wire: Wire | None) -> Wire:
        """Raises: Trouble, when the server is left alone for now."""
        if wire is None:
            raise Trouble("the client is not connected")
        if self._troubled.is_set():
            raise Trouble("the server was in trouble a moment ago, and is left alone")
        return wire

    def _failed(self, trouble: Trouble) -> None:
        # A refusal for this one question says nothing of the next.
        if trouble.status not in (400, 404, 413):
            wanted = min(trouble.retry_after_seconds, MOST_RETRY_SECONDS)
            self._put_off_until = max(self._put_off_until, time.monotonic() + wanted)
            self._troubled.set()

    def _recovered(self) -> None:
        if time.monotonic() >= self._put_off_until:
            self._rest_seconds = REST_SECONDS
            self._troubled.clear()


def context_json(context: Mapping[str, Any]) -> bytes:
    """*context* as JSON, the same for the same one.

    Raises: TypeError for a number that JSON does not have.
    """
    try:
        return json.dumps(context, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except ValueError as error:
        raise TypeError(f"an attribute cannot be said in JSON: {error}") from None


def _code(trouble: Trouble) -> str:
    return "GENERAL" if trouble.status else "PROVIDER_NOT_READY"


def _bulk(body: object) -> Mapping[str, Evaluation]:
    """Raises: Trouble."""
    entries = body.get("flags") if isinstance(body, dict) else None
    if not isinstance(entries, list):
        raise Trouble("the answer is not one for all flags")
    return {
        entry["key"]: _evaluation(entry) for entry in entries if isinstance(entry, dict) and _has_key(entry)
    }


def _has_key(entry: Mapping[str, Any]) -> bool:
    return isinstance(entry.get("key"), str)


def _evaluation(body: object) -> Evaluation:
    """The answer for one flag. Raises: Trouble."""
    if not isinstance(body, dict) or not ("reason" in body or "errorCode" in body):
        raise Trouble("the answer is not one for a flag")
    metadata = body.get("metadata")
    about = metadata if isinstance(metadata, dict) else {}
    if body.get("errorCode"):
        return Evaluation(
            value=None,
            variant="",
            reason="ERROR",
            error_code=str(body["errorCode"]),
            error_details=str(body.get("errorDetails", "")),
            metadata=about,
        )
    has_value = "value" in body
    reason = "KILLED" if about.get("killed") is True else str(body.get("reason", ""))
    variant = str(body.get("variant", "")) if has_value else ""
    return Evaluation(value=body.get("value"), variant=variant, reason=reason, metadata=about)
