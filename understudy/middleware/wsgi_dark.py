"""A request that a WSGI application answers: what is counted and rehearsed of it, once it is over.

The application's thread keeps what passes; all else is the loop's, which nobody waits for.
"""

from collections.abc import Iterable
from time import perf_counter
from typing import Any

from understudy.decide import Decision as Route
from understudy.engine import Plan
from understudy.middleware.counted import count
from understudy.middleware.environ import GIVEN, Environ, has_body, kept, length_of
from understudy.middleware.errands import Errands
from understudy.middleware.hop import Hop
from understudy.middleware.in_force import InForce
from understudy.middleware.inner import UNSEEN
from understudy.middleware.request import AsgiRequest, Scope
from understudy.middleware.stage import Stage
from understudy.middleware.wsgi_tee import App, Input, Pieces, StartResponse, Tee, status_of, teed
from understudy.proxy.heads import UNSIZED, Refused
from understudy.proxy.rehearsal import Rehearsal

FLAT_BYTES = 4096
"""What a request holds beside its bodies: fields, environ."""


class Decided:
    """What one version of the rules said of a request; means the same in the loop, or nothing any more."""

    __slots__ = ("found", "in_force", "request")

    def __init__(self, in_force: InForce, found: Route, request: AsgiRequest) -> None:
        self.in_force = in_force
        self.found = found
        self.request = request

    def plan(self, stage: Stage) -> Plan | None:
        """What it means in the loop of *stage*; None when rules came into force that say otherwise."""
        found: Route | None = self.found
        if stage.in_force is not self.in_force:
            found = stage.in_force.compiled.decide(self.request)
            if found is None or not _is_same(found, self.found):
                return None
        return None if found is None else stage.engine.plan(found)

    def refused(self, stage: Stage, times: int) -> None:
        """There was no room to hand over *times* requests: their copies are dropped."""
        plan = self.plan(stage)
        for target in plan.targets if plan is not None else ():
            target.eligible += times
            target.reasons["dropped", "handover"] += times
        met_unnamed(stage, self.found, times)

    def met(self, stage: Stage) -> None:
        """The request met its variant, although it means nothing any more."""
        if self.found.flag:
            stage.engine.sightings.meetings(self.found.flag, self.found.variant).see(self.found, self.request)

    def __hash__(self) -> int:
        return hash((id(self.in_force), self.found.index))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Decided) and (self.in_force, self.found) == (other.in_force, other.found)


def _is_same(found: Route, before: Route) -> bool:
    return (found.flag, found.variant, found.serve, found.mirror) == (
        before.flag,
        before.variant,
        before.serve,
        before.mirror,
    )


def met_unnamed(stage: Stage, found: Route, times: int) -> None:
    """So many requests met what was *found*; nothing else is kept of them."""
    if found.flag:
        stage.engine.sightings.meetings(found.flag, found.variant).see_unnamed(times)


class Served:
    """One answer of the application that is only counted. It passes as it is, so it counts when it starts.

    *plan* is what it is counted as, if the loop has said so already.
    """

    __slots__ = ("_decided", "_errands", "_is_counted", "_plan", "_started_at")

    def __init__(self, decided: Decided, errands: Errands, plan: Plan | None = None) -> None:
        self._decided = decided
        self._errands = errands
        self._plan = plan
        self._is_counted = False
        self._started_at = perf_counter()

    def run(self, app: App, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Let *app* answer."""

        def start(line: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            write = start_response(line, headers, *exc_info)
            self._count(status_of(line))
            return write

        try:
            return app(environ, start)
        except BaseException:
            self._count(0)
            raise

    def _count(self, status: int) -> None:
        if self._is_counted:
            return
        self._is_counted = True
        decided, known, seconds = self._decided, self._plan, perf_counter() - self._started_at

        def tell(stage: Stage) -> None:
            plan = decided.plan(stage) if known is None else known
            if plan is None:
                decided.met(stage)
            else:
                count(plan, decided.request, status, seconds)

        self._errands.offer(0, tell, self)

    def refused(self, stage: Stage, times: int) -> None:
        """There was no room to hand over *times* requests: they are not counted, but for what they met."""
        stage.metrics.errors["uncounted"] += times
        met_unnamed(stage, self._decided.found if self._plan is None else self._plan.decision, times)

    def __hash__(self) -> int:
        return hash(self._decided)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Served) and (self._decided, self._plan) == (other._decided, other._plan)


class Nobody:
    """Of whom nothing else is known."""

    def refused(self, stage: Stage, times: int) -> None:
        """A request that could not be decided was not counted."""
        stage.metrics.errors["uncounted"] += times


NOBODY = Nobody()


class Dark:
    """One request to the application with the copies that will be made of it."""

    def __init__(self, decided: Decided, errands: Errands, hop: Hop, scope: Scope, cap: int) -> None:
        self._decided = decided
        self._errands = errands
        self._hop = hop
        self._scope = scope
        self._body = Pieces(cap)
        self._answer = Pieces(cap)
        self._input: Input | None = None
        self._tee: Tee | None = None
        self._started_at = perf_counter()
        self._seconds = 0.0

    def run(self, app: App, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Let *app* answer."""
        self._scope[GIVEN] = kept(environ)
        is_head = environ["REQUEST_METHOD"] == "HEAD"
        tee = self._tee = Tee(start_response, self._answer, self, is_head=is_head)
        if has_body(environ) and "wsgi.input" in environ:
            self._input = Input(environ["wsgi.input"], self._body, length=length_of(environ))
            environ["wsgi.input"] = self._input
        try:
            answer = app(environ, tee.start_response)
        except BaseException:
            tee.end("primary_failed")
            raise
        wrapper = environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type) and isinstance(answer, wrapper):
            tee.end("unseen_body")  # the server sends a file that never comes by here
            return answer
        return teed(answer, tee)

    def ended(self, reason: str) -> None:
        """The answer is over, *reason* says why it is not whole; the loop shall know."""
        tee = self._tee
        assert tee is not None
        self._seconds = (tee.last_at or perf_counter()) - self._started_at
        size = FLAT_BYTES + self._body.held + self._answer.held
        self._errands.offer(size, lambda stage: self._tell(stage, reason), self._decided)

    # -- in the loop -------------------------------------------------------------------------------------

    def _tell(self, stage: Stage, reason: str) -> None:
        tee, plan = self._tee, self._decided.plan(stage)
        assert tee is not None
        if plan is None:
            stage.metrics.errors["unmirrored_turned"] += 1  # the rules that said so are no more
            self._decided.met(stage)
            return
        count(plan, self._decided.request, tee.status, self._seconds)
        try:
            rehearsal = self._rehearsal(stage, plan)
        except Refused as refused:
            # The server took it, so the application may; a service is not shown what the proxy would refuse.
            stage.metrics.errors[f"unmirrored_{refused.reason}"] += 1
            return
        if rehearsal is not None:
            self._rehearse(rehearsal, tee, reason)

    def _rehearsal(self, stage: Stage, plan: Plan) -> Rehearsal | None:
        """Open the books. Raises `Refused` when no copy of it may be sent."""
        request, scope = self._decided.request, self._scope
        fields = self._hop.read(request, scope)
        rehearsal = stage.rehearse(
            plan,
            request,
            fields,
            target=request.target,
            added=self._hop.added(scope, fields, plan.authority),
            unseen=UNSEEN,
        )
        if rehearsal is not None:
            scope["state"] = {}
            request.again = scope
            request.decided = (stage.in_force, plan.decision)
            if fields.length == UNSIZED and self._input is not None:
                self._input.is_whole = False  # a body that the fields do not tell: then nothing is sent
        return rehearsal

    def _rehearse(self, rehearsal: Rehearsal, tee: Tee, reason: str) -> None:
        for piece in self._body.kept:
            rehearsal.body(piece)
        if self._input is None or self._input.is_whole:
            rehearsal.send()
        if reason:
            rehearsal.abort(reason)
            return
        rehearsal.answer(tee.status, tee.headers)
        for piece in self._answer.kept:
            rehearsal.data(piece)
        rehearsal.unkept(self._answer.length - self._answer.held)
        rehearsal.complete(self._seconds, b"")
