"""Which units exposures are kept of."""

from understudy.decide.hashing import murmur


def is_sampled(unit: str, share: float) -> bool:
    """Whether *unit* is among the *share* (0 to 1) of units that exposures are kept of.

    The same in every process and at every time, so a unit is whole in or out, and one that is in stays in
    when the share grows. The salt makes it independent of the cohorts that ``fractional`` makes.
    """
    if share >= 1.0:
        return True
    return murmur(b"understudy exposures:" + unit.encode("utf-8", "surrogatepass")) < share * 2**32
