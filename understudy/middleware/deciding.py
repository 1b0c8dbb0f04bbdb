"""What is done with each request before its application answers: decided, and opened to be mirrored."""

from typing import TYPE_CHECKING, Any

from understudy.config import APP
from understudy.engine import Plan
from understudy.middleware.dark import Dark
from understudy.middleware.decision import KEY, Decision, PlainDecision, put
from understudy.middleware.hop import Hop
from understudy.middleware.in_force import InForce, Ready
from understudy.middleware.inner import UNSEEN, again
from understudy.middleware.request import NO_REQUEST, App, AsgiRequest, Receive, Scope, Send
from understudy.proxy.heads import UNSIZED, Refused
from understudy.shadow.exchange import SAFE

if TYPE_CHECKING:
    from understudy.middleware.stage import Stage


def decide(ready: Ready, scope: Scope) -> Plan | None:
    """Put the decision in *scope*; what it means, None when the application shall simply answer.

    What is known to ask no flag is a look-up and one object. Never raises: what cannot be decided passes, and
    is counted.
    """
    in_force = ready.in_force
    try:
        given: dict[str, Any] = scope if type(scope) is dict else dict(scope)
        raw = given.get("raw_path") or given["path"]
        plain = in_force.plain
        if raw in plain:
            put(scope, PlainDecision(in_force, plain[raw], ready.hop, raw, given))
            return None
        request = AsgiRequest(given)
        hop = ready.hop
        if hop.believes:
            hop.believe(request, scope)
        found = in_force.compiled.decide(request)
        put(scope, Decision(in_force, request, found))
        if found is None or (found.serve == APP and not found.flag):
            in_force.remember(raw, found)
            return None
        return ready.engine.plan(found)
    except Exception as error:  # noqa: BLE001  counted and told
        ready.stage.metrics.errors["internal"] += 1
        _undecided(in_force, scope, error)
        return None


def leave(in_force: InForce, hop: Hop, scope: Scope) -> None:
    """Put in *scope* that nothing was decided: the middleware is off."""
    try:
        request = AsgiRequest(scope)
        hop.believe(request, scope)
        put(scope, Decision(in_force, request, None))
    except Exception as error:  # noqa: BLE001  told by what is called
        _undecided(in_force, scope, error)


def _undecided(in_force: InForce, scope: Scope, error: Exception) -> None:
    """Tell of *error*; the application finds a decision all the same."""
    in_force.faults.tell(error)
    if KEY not in scope:
        put(scope, Decision(in_force, NO_REQUEST, None))


def _again(stage: "Stage", scope: Scope) -> Scope | None:
    """What the application is asked once more with; None when *scope* has no copy, or nobody will ask."""
    limits = stage.mirror.limits
    if not (limits.control_share or limits.confirm):
        return None
    try:
        return again(scope)
    except Exception:  # noqa: BLE001  a session may hold whatever outer middleware puts there
        stage.metrics.errors["uncopyable_scope"] += 1
        return None


def rehearsed(
    stage: "Stage", hop: Hop, plan: Plan, app: App, scope: Scope, receive: Receive, send: Send
) -> Dark | None:
    """What lets *app* answer and tells the mirror of it; None when no copy may be sent. Never raises."""
    try:
        decision: Decision = scope[KEY]
        request = decision.head
        assert isinstance(request, AsgiRequest)
        fields = hop.read(request, scope)
        rehearsal = stage.rehearse(
            plan,
            request,
            fields,
            target=request.target,
            added=hop.added(scope, fields, plan.authority),
            unseen=UNSEEN,
        )
        if rehearsal is None:
            return None
        if request.method in SAFE:
            # The application changes its scope; whoever asks it once more starts from what it was given.
            request.again, request.asks = _again(stage, scope), app
        request.decided = (stage.in_force, plan.decision)
        return Dark(
            rehearsal,
            plan,
            scope,
            receive,
            send,
            is_head=request.method == "HEAD",
            has_body=fields.length not in (UNSIZED, 0),
        )
    except Refused as refused:
        # The server took it, so the application may; a service is not shown what the proxy would refuse.
        stage.metrics.errors[f"unmirrored_{refused.reason}"] += 1
    except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
        stage.mirror.broke()
    return None
