"""What each request of an ASGI application passes first; most pass it and nothing more of ours.

A wheel has it compiled: to be called costs a compiled object less than the call of an ordinary one.
"""

from asyncio import _get_running_loop
from collections.abc import Awaitable
from typing import Any

from mypy_extensions import mypyc_attr

from understudy.config import APP
from understudy.middleware.answering import answer, let_answer
from understudy.middleware.beginning import Beginning
from understudy.middleware.counted import Counted
from understudy.middleware.deciding import decide
from understudy.middleware.in_force import Ready
from understudy.middleware.request import App, Receive, Scope, Send


@mypyc_attr(allow_interpreted_subclasses=True)
class Front:
    """Answers for *app* by what its event loop has *ready*, which *beginning* makes where there is none."""

    __deletable__ = ("app",)  # as whoever patches it and puts it back does

    def __init__(self, app: App, beginning: Beginning, ready: dict[Any, Ready]) -> None:
        self.app: App = app
        self._beginning = beginning
        self._ready = ready

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer, as an application does (ASGI 3).

        A request that no flag decides costs no coroutine of ours: what *app* returns is returned.
        """
        kind: object = scope["type"]
        if kind != "http":
            if kind == "lifespan":
                return self._beginning.live(self.app, scope, receive, send)
            return self.app(scope, receive, send)
        # This loop's own: nothing follows the rules, or sees the kill file, for one that began none.
        ready = self._ready.get(_get_running_loop())
        if ready is None:
            return self._beginning.answer(self.app, scope, receive, send)
        plan = decide(ready, scope)
        if plan is None:
            return self.app(scope, receive, send)
        if plan.decision.serve == APP and not plan.targets:
            return let_answer(self.app, scope, receive, Counted(plan, scope, send))
        return answer(self.app, ready, plan, scope, receive, send)
