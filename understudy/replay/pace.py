"""When each request of a replay is due. Pure: seconds since the start, ascending."""

from collections.abc import Callable, Sequence

Due = Callable[[int], float]
"""Seconds after the start at which the request of that number, from 0, is due."""


def at_once(_number: int) -> float:
    """As fast as the services answer."""
    return 0.0


def at_rate(per_second: float) -> Due:
    """Evenly, so many a second."""
    return lambda number: number / per_second


def as_recorded(times: Sequence[float | None], *, speed: float = 1.0) -> Due:
    """With the gaps between *times*, *speed* times as fast; a time that is missing is the one before.

    The next round follows after one mean gap.
    """
    offsets: list[float] = []
    first: float | None = None
    for at in times:
        first = at if first is None else first
        offset = 0.0 if at is None or first is None else at - first
        offsets.append(max(offset, offsets[-1] if offsets else 0.0))
    length = offsets[-1] + offsets[-1] / max(1, len(offsets) - 1) if offsets else 0.0

    def due(number: int) -> float:
        turn, at = divmod(number, len(offsets))
        return (turn * length + offsets[at]) / speed

    return due
