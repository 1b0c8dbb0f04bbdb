"""A fault in any step of mirroring, whatever the shadow does meanwhile, is the mirror's alone."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from shadow_examples import OK_JSON
from shadow_stage import Origin, Visit, converse, document, get, on_uvloop, staged
from test_shadow_unfelt import REQUESTS, SHADOWS, answer_by_target, plain_answers

from understudy.comparators import Comparison, Endpoints
from understudy.proxy import rehearsal
from understudy.shadow import Mirror, MirroredExchange, Target, call, confirm, exchange
from understudy.shadow.call import ShadowCall
from understudy.shadow.confirm import Confirmation, Confirming
from understudy.upstream import Pool, UpstreamConnection

STEPS: dict[str, tuple[Any, str]] = {
    "keep a piece of the request": (rehearsal, "keep"),
    "keep a piece of the primary's answer": (exchange, "keep"),
    "keep a piece of the shadow's answer": (call, "keep"),
    "make a value of the primary's answer": (exchange, "as_answer"),
    "make a value of the shadow's answer": (call, "as_answer"),
    "compare fields": (exchange, "same_fields"),
    "admit a copy": (Mirror, "_admit"),
    "skip a copy": (Mirror, "skip"),
    "settle a call": (Mirror, "_settle_call"),
    "name the endpoint": (Endpoints, "of"),
    "expect answers": (MirroredExchange, "expect"),
    "give back what is held": (MirroredExchange, "close"),
    "end the primary": (MirroredExchange, "_primary_over"),
    "lose the primary": (MirroredExchange, "primary_lost"),
    "let go of the primary": (MirroredExchange, "_let_go"),
    "take in a call": (MirroredExchange, "call_over"),
    "let go of a connection": (ShadowCall, "_let_go"),
    "book a failure": (Target, "failed"),
    "book a skip": (Target, "count"),
    "cut a connection": (UpstreamConnection, "abandon"),
    "leave the queue": (Pool, "withdraw"),
}

KINDS = ["unequal", "closes", "half", "garbage", "endless_body", "endless_crumbs", "upgrades", "refuses"]


def breaking(original: Callable[..., Any], step: str) -> Callable[..., Any]:
    """*original*, raising; what serves the primary too goes on."""

    def broken(*arguments: Any, **named: Any) -> Any:
        if step == "cut a connection" and not isinstance(arguments[0].caller, ShadowCall):
            return original(*arguments, **named)
        if step == "leave the queue" and not isinstance(arguments[1], ShadowCall):
            return original(*arguments, **named)
        raise RuntimeError(f"injected: {step}")

    return broken


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", STEPS)
def test_a_fault_in_mirroring_stays_there(step: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's bytes are the same, nothing reaches the event loop, and the next request is mirrored."""
    owner, name = STEPS[step]
    told: list[Mapping[str, Any]] = []

    @on_uvloop
    async def play() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with (
            Origin(on_request=answer_by_target).listening() as primary,
            Origin(**SHADOWS["equal" if kind == "refuses" else kind]).listening() as shadow,
        ):
            plain = await plain_answers(primary)
            port = 1 if kind == "refuses" else shadow.port
            async with staged(document(primary, port, shadow={"timeout": "60s", "control": 1})) as stage:
                monkeypatch.setattr(owner, name, breaking(getattr(owner, name), step))
                assert await converse(stage.port, *REQUESTS) == plain
                stage.sweep_late(61.0)
                assert await converse(stage.port, get()) == plain[:1]
                monkeypatch.undo()
                assert await converse(stage.port, get()) == plain[:1]
                stage.sweep_late(61.0)

    play()
    assert told == []


CONFIRMING: dict[str, tuple[Any, str]] = {
    "tell what was asked": (MirroredExchange, "asked"),
    "compare in the worker": (Comparison, "compare"),
    "look at what counts": (Confirming, "_counts"),
    "ask again": (Confirming, "_ask"),
    "see what bars it": (Confirming, "_bar"),
    "find the books": (Confirming, "_books"),
    "write the copies": (Confirming, "_calls"),
    "find the body": (MirroredExchange, "body"),
    "send them": (Confirming, "_send"),
    "weigh the pair": (confirm, "held_bytes"),
    "hold the pair": (Confirmation, "hold"),
    "take in a second answer": (Confirmation, "call_over"),
    "end a second answer": (Confirmation, "_one_less"),
    "make a pair of it": (Confirmation, "_confirmed"),
    "hand the pair on": (Mirror, "confirmed"),
    "forget books": (Confirming, "forget_retired"),
}


def differs_once(second: str) -> Callable[[Visit, bytes], None]:
    """Answers otherwise than the primary; every other request as *second* says."""
    asked = 0

    def on_request(visit: Visit, _request: bytes) -> None:
        nonlocal asked
        asked += 1
        if asked % 2 or second == "differs":
            visit.send(OK_JSON.replace(b"1}", b"2}"))
        elif second == "equal":
            visit.send(OK_JSON)
        elif second == "resets":
            visit.transport.abort()
        elif second == "garbage":
            visit.send(b"SSH-2.0-OpenSSH\r\n")

    return on_request


@pytest.mark.parametrize("second", ["differs", "equal", "silent", "resets", "garbage"])
@pytest.mark.parametrize("step", [*CONFIRMING, "none"])
def test_a_fault_in_confirming_stays_there(step: str, second: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a fault in mirroring, whatever the second answer is; without one none is counted."""
    told: list[Mapping[str, Any]] = []

    @on_uvloop
    async def play() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with (
            Origin(on_request=answer_by_target).listening() as primary,
            Origin(on_request=differs_once(second)).listening() as shadow,
        ):
            plain = await plain_answers(primary)
            settings = document(
                primary, shadow.port, shadow={"timeout": "60s", "control": 1, "confirm": True}
            )
            async with staged(settings) as stage:
                if step != "none":
                    owner, name = CONFIRMING[step]
                    monkeypatch.setattr(owner, name, breaking(getattr(owner, name), step))
                assert await converse(stage.port, *REQUESTS) == plain
                stage.sweep_late(61.0)
                assert await converse(stage.port, get()) == plain[:1]
                monkeypatch.undo()
                assert await converse(stage.port, get()) == plain[:1]
                stage.sweep_late(61.0)
                if step == "none":
                    assert stage.metrics.mirror_errors == 0
                    assert stage.mirror.held == 0

    play()
    assert told == []
