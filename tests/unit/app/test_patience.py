"""What long comparisons may take of an event loop that serves requests too."""

from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.app.patience import BURST_SECONDS, LONG_SECONDS, Patience


@settings(max_examples=50)
@given(
    holds=st.lists(st.floats(min_value=0.0, max_value=0.5), min_size=1, max_size=200),
    share=st.floats(min_value=0.001, max_value=0.5),
)
def test_long_holds_keep_to_their_share(holds: list[float], share: float) -> None:
    """Whatever they are: their sum is within the burst, the share of the time, and the one that ended it."""
    patience, now, long = Patience(share), 1.0, 0.0
    for held in holds:
        now += held
        long += held if held > LONG_SECONDS else 0.0
        assert long <= BURST_SECONDS + share * (now - 1.0) + 0.5 + 1e-6
        now += patience.pause_seconds(held, now)
        assert long <= BURST_SECONDS + share * (now - 1.0) + 1e-6


def test_short_holds_need_no_pause() -> None:
    """However many: a share of the time is left to others elsewhere."""
    patience = Patience(0.005)
    assert all(patience.pause_seconds(LONG_SECONDS, 1.0 + n) == 0.0 for n in range(1000))


def test_who_hurries_needs_no_pause() -> None:
    """Once long holds are spent it is known, until their share of the time has paid for them."""
    patience = Patience(0.005)
    assert not patience.is_spent(1.0)
    assert patience.pause_seconds(2 * BURST_SECONDS, 1.0) > 0.0
    assert patience.is_spent(1.0)
    assert patience.pause_seconds(LONG_SECONDS, 1.0) == 0.0
    assert not patience.is_spent(1.0 + BURST_SECONDS / 0.005 + 0.1)


def test_a_process_of_its_own_does_not_pause() -> None:
    """The control process has no requests that wait."""
    patience = Patience(1.0)
    assert patience.pause_seconds(60.0, 1.0) == 0.0
    assert not patience.is_spent(1.0)
