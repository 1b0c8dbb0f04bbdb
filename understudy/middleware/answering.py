"""Who answers a request that a flag decides: another service, or the application while services rehearse it.

What servers await stays interpreted in a wheel, too: a compiled coroutine has no frame and is none to
`inspect`, so that task groups of anyio's older releases (4.9) start none, and nothing tells of one that is
never awaited.
"""

from understudy.config import APP
from understudy.engine import Plan
from understudy.middleware.counted import Counted
from understudy.middleware.deciding import rehearsed
from understudy.middleware.decision import KEY
from understudy.middleware.forward import Forward
from understudy.middleware.in_force import Ready
from understudy.middleware.request import App, Receive, Scope, Send


async def answer(app: App, ready: Ready, plan: Plan, scope: Scope, receive: Receive, send: Send) -> None:
    """Let whom *plan* names answer, and tell who listens."""
    stage, hop = ready.stage, ready.hop
    if plan.decision.serve != APP:
        request = scope[KEY].head
        forward = Forward(stage, hop, plan, request, scope, receive, send)
        if await forward.run():
            return
        plan = forward.plan  # the application stands in for a service that is out
    dark = None
    if plan.targets:
        dark = rehearsed(stage, hop, plan, app, scope, receive, send)
    if dark is not None:
        await dark.run(app, scope)
        return
    await let_answer(app, scope, receive, Counted(plan, scope, send))


async def let_answer(app: App, scope: Scope, receive: Receive, counted: Counted) -> None:
    """Let *app* answer to *counted*, which is told when that is over."""
    try:
        await app(scope, receive, counted.send)
    except BaseException as error:
        counted.over(error)
        raise
    counted.over()
