"""The client for applications of threads: one thread of its own stays in touch with the server."""

import asyncio
import atexit
import concurrent.futures
import ssl
import threading
import weakref
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from understudy.client.background import Background
from understudy.client.base import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    OBJECT,
    STRING,
    BaseClient,
    check,
    renew_after_fork,
)
from understudy.client.details import Details, kind_of
from understudy.client.options import TIMEOUT_SECONDS, CachePath, Mode, read_options
from understudy.client.remote import context_json
from understudy.client.status import State, StatusListener
from understudy.client.wire import Token
from understudy.decide import Evaluation

T = TypeVar("T")
_CLOSE_SECONDS = 5.0
_MARGIN_SECONDS = 0.5


class Client(BaseClient):
    """Flags of the control process at *url*, for any number of threads; begins at once.

    *token* is an API token of a viewer (an evaluator, in remote mode), or a function that gives the one to
    show now. *mode*: ``local`` evaluates in this process by the very rules of the server; ``remote`` asks it
    (OFREP), for who may not hold them, and a question waits up to *timeout* seconds for an answer that is not
    known yet. *flag_set* limits it to one (``metadata.flagSetId``). *cache* is a file for the last good
    definition, to start from when the server is away. *timeout*: for each answer of the server; *poll*: how
    often it is asked besides the stream of changes, both in seconds. *exposures*: send which unit met which
    variant to the server, in batches. *verify*: certificates, as httpx has it.

    Questions for flags never raise but TypeError, for arguments of wrong types: whatever else goes wrong,
    they give the caller's default. After a fork the child stays in touch by itself.

    Raises: ConfigError, when it could never work.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token = None,
        mode: Mode = "local",
        flag_set: str = "",
        cache: CachePath = None,
        timeout: float = TIMEOUT_SECONDS,
        poll: float = 30.0,
        exposures: bool = False,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        super().__init__(
            read_options(
                url,
                token=token,
                mode=mode,
                flag_set=flag_set,
                cache=cache,
                timeout=timeout,
                poll=poll,
                exposures=exposures,
                verify=verify,
            )
        )
        self._is_closed = False
        self._ready = threading.Event()
        self._hooks.on_status(_noting(weakref.WeakMethod(self._note)))
        self._begin()
        renew_after_fork(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait_ready(self, timeout: float = 10.0) -> bool:
        """Wait until there are flags to answer with, up to *timeout* seconds; whether there are."""
        return self._ready.wait(timeout) and self.ready()

    def start(self) -> None:
        """Stay in touch again, after `close`; a new client does so already. Safe to call again."""
        if self._is_closed:
            self._is_closed = False
            self._ready = threading.Event()
            self._begin()

    def close(self) -> None:
        """Send what exposures wait, for a moment, and end; what is known goes on answering.

        Whoever waits for flags waits no longer. Safe to call again; `start` begins anew.
        """
        self._is_closed = True
        background, ready = self._background, self._ready
        background.stop()
        background.join(_CLOSE_SECONDS)
        self._dropped.detach()
        self._life.feed.close()
        _open.discard(self)
        ready.set()

    def boolean(self, flag: str, unit: str | None, default: bool, /, **attributes: Any) -> bool:
        """What *flag* says for *unit*; *default* when it says nothing, or something else than a boolean."""
        check(default, BOOLEAN)
        found: bool = self._fitting(flag, unit, default, self._found(flag, unit, attributes), BOOLEAN)
        return found

    def string(self, flag: str, unit: str | None, default: str, /, **attributes: Any) -> str:
        """As `boolean`, for text."""
        check(default, STRING)
        found: str = self._fitting(flag, unit, default, self._found(flag, unit, attributes), STRING)
        return found

    def integer(self, flag: str, unit: str | None, default: int, /, **attributes: Any) -> int:
        """As `boolean`, for an integer."""
        check(default, INTEGER)
        found: int = self._fitting(flag, unit, default, self._found(flag, unit, attributes), INTEGER)
        return found

    def number(self, flag: str, unit: str | None, default: float, /, **attributes: Any) -> float:
        """As `boolean`, for a number, which an integer will do for."""
        check(default, NUMBER)
        return self._number(flag, unit, default, self._found(flag, unit, attributes))

    def object(
        self, flag: str, unit: str | None, default: dict[str, Any] | list[Any], /, **attributes: Any
    ) -> Any:
        """As `boolean`, for a dict or a list, which is the caller's to change."""
        check(default, OBJECT)
        return self._fitting(flag, unit, default, self._found(flag, unit, attributes), OBJECT)

    def variant(self, flag: str, unit: str | None, default: str, /, **attributes: Any) -> str:
        """The name of the variant that *unit* gets; *default* when it gets none."""
        check(default, STRING)
        return self._named(flag, unit, default, self._found(flag, unit, attributes))

    def details(self, flag: str, unit: str | None, default: Any, /, **attributes: Any) -> Details[Any]:
        """What *flag* says for *unit*, and why.

        The type of *default* says what is expected; None: anything.
        """
        kind_of(default)
        held = self._held()
        if held is None:
            return self._explained(flag, unit, default, self._found(flag, unit, attributes), None)
        found = held.evaluate(flag, self._context(flag, unit, attributes))
        return self._explained(flag, unit, default, found, held.origin.version)

    def evaluate_all(
        self, unit: str | None, attributes: Mapping[str, Any] | None = None
    ) -> dict[str, Details[Any]]:
        """What all flags say for *unit*; None stands for the value where a flag says nothing."""
        context = self._context_of_all(unit, attributes)
        if not self._is_remote:
            return self._all_held(context)
        asked = context_json(context)
        answer = self._wait(self._life.evaluate_all_remotely(asked))
        return self._all(self._life.last_all(asked) if answer is None else answer)

    def _found(self, flag: str, unit: str | None, attributes: dict[str, Any]) -> Evaluation:
        context = self._context(flag, unit, attributes)
        found = self._life.evaluate(flag, context)
        if self._is_remote and found.error_code == "PROVIDER_NOT_READY":
            asked = context_json(context)
            answer = self._wait(self._life.evaluate_remotely(flag, asked))
            return answer or self._life.last(flag, asked) or found
        return found

    def _wait(self, asked: Coroutine[Any, Any, T]) -> T | None:
        """What *asked* gives, in the thread that has the connection; None when that does not run."""
        loop = self._background.loop
        if loop is None or self._is_closed or self._background.is_here:
            asked.close()
            return None
        try:
            future = asyncio.run_coroutine_threadsafe(asked, loop)
        except RuntimeError:
            asked.close()
            return None
        try:
            return future.result(self._timeout_seconds + _MARGIN_SECONDS)
        except (TimeoutError, concurrent.futures.CancelledError):
            future.cancel()
            return None

    def _begin(self) -> None:
        self._life.begin()
        if self.ready():
            self._ready.set()
        self._background = Background(self._life.run)
        # Who drops a client without closing it shall not leave its thread and its connections behind.
        self._dropped = weakref.finalize(self, self._background.stop)
        self._dropped.atexit = False  # then it is closed, and waited for
        _open.add(self)

    def _note(self, state: State) -> None:
        if state is State.READY:
            self._ready.set()

    def _renew(self) -> None:
        """Go on in a forked process, where no other thread is."""
        if self._is_closed:
            return
        self._ready = threading.Event()
        self._dropped.detach()  # that thread is the parent's
        self._life.renew()
        self._begin()


def _noting(note: "weakref.WeakMethod[StatusListener]") -> StatusListener:
    """What calls *note* while its client is there, and does not keep it there."""

    def told(state: State) -> None:
        living = note()
        if living is not None:
            living(state)

    return told


_open: "weakref.WeakSet[Client]" = weakref.WeakSet()


def _close_all() -> None:
    for client in list(_open):
        client.close()


atexit.register(_close_all)
