"""A shadow behind a bad network is not felt: the seven faults of `FaultProxy` on the way of copies."""

import time

import pytest
from shadow_examples import assert_conserved
from shadow_stage import Origin, converse, document, on_uvloop, staged, until
from test_shadow_unfelt import REQUESTS, SOON_SECONDS, answer_by_target, plain_answers

from understudy.testing import (
    Bandwidth,
    Fault,
    FaultProxy,
    Latency,
    LimitData,
    Reset,
    Slicer,
    SlowClose,
    Timeout,
)

FAULTS: dict[str, Fault] = {
    "latency": Latency(seconds=30.0),
    "bandwidth": Bandwidth(bytes_per_second=10),
    "slow close": SlowClose(seconds=30.0),
    "time-out": Timeout(),
    "reset at once": Reset(),
    "reset": Reset(after_bytes=100),
    "slicer": Slicer(size_bytes=1, pause_seconds=1.0),
    "data limit": LimitData(after_bytes=100),
}


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_shadow_behind_a_bad_network_is_not_felt(name: str, direction: str) -> None:
    """The same bytes as without mirroring, none later; copies end in time, the books are whole."""

    @on_uvloop
    async def play() -> None:
        async with (
            Origin(on_request=answer_by_target).listening() as primary,
            Origin(on_request=answer_by_target).listening() as shadow,
            FaultProxy(upstream=("127.0.0.1", shadow.port)) as faults,
        ):
            (faults.up if direction == "up" else faults.down).set(FAULTS[name])
            plain = await plain_answers(primary)
            settings = document(primary, faults.port, shadow={"timeout": "60s", "control": 1})
            async with staged(settings) as stage:
                started = time.monotonic()
                assert await converse(stage.port, *REQUESTS) == plain
                assert time.monotonic() - started < SOON_SECONDS
                await until(lambda: stage.target("mirror", "v2").eligible == len(REQUESTS), "all copies")
                await until(lambda: not stage.target("control", "v1").in_flight, "the controls' answers")
                stage.sweep_late(61.0)
                for target in stage.mirror.targets.values():
                    assert_conserved(target)
                assert (stage.mirror.held, stage.metrics.mirror_errors) == (0, 0)

    play()
