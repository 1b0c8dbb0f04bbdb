"""Who answers a request that a flag decides: another service, or the application while services rehearse it.

What servers await stays interpreted in a wheel, too: a compiled coroutine has no frame and is none to
`inspect`, so that task groups of anyio's older releases (4.9) start none, and nothing tells of one that is
never awaited.
"""

from understudy.config import APP
from understudy.engine import Plan
from understudy.middleware.counted import Counted
from understudy.middleware.dark import Dark
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
    dark = rehearsed(stage, hop, plan, app, scope, receive, send) if plan.targets else None
    if dark is None:
        await let_answer(app, scope, receive, Counted(plan, scope, send))
    else:
        dark.begin()
        await let_answer(app, scope, dark.receive, dark)


async def let_answer(app: App, scope: Scope, receive: Receive, told: Counted | Dark) -> None:
    """Let *app* answer by way of who is *told* of it, also when that is over."""
    try:
        await app(scope, receive, told.send)
    except BaseException as error:
        told.over(error)
        raise
    told.over()
