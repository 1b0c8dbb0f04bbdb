"""What a worker has not said yet: bounded, one batch under way, counted exactly once."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.link import Batch, Outbox
from understudy.link.outbox import BATCH_BYTES, BATCH_PAIRS, MOST_BYTES, MOST_PAIRS, pair_bytes
from understudy.messages import Answer, Pair

BODY = bytes(1 << 20)


def pair(*, body: bytes = b"", fields: int = 0) -> Pair:
    """A pair whose three answers have *body* and that many fields of 1 kB."""
    answer = Answer(status=200, headers=[(b"X", b"v" * 1000)] * fields, body=body, length_bytes=len(body))
    return Pair(
        service="v2",
        endpoint="GET /",
        flag="",
        method="GET",
        path="/",
        query="",
        at=0.0,
        primary=answer,
        shadow=answer,
        control=answer,
    )


def test_full_means_no() -> None:
    """So many pairs and not one more; when a batch is taken there is room again."""
    outbox = Outbox()
    assert all(outbox.offer(pair()) for _ in range(MOST_PAIRS))
    assert not outbox.offer(pair())
    assert outbox.next_batch() is not None
    assert outbox.offer(pair())


def test_bytes_are_bounded_too() -> None:
    """Large bodies fill it long before their number does."""
    outbox = Outbox()
    kept = 0
    while outbox.offer(pair(body=BODY)):
        kept += 1
    assert kept == MOST_BYTES // pair_bytes(pair(body=BODY))


def test_fields_count() -> None:
    """A shadow that sends 32 kB of fields with every answer does not get past the bound."""
    outbox = Outbox()
    kept = 0
    while outbox.offer(pair(fields=30)):
        kept += 1
    assert kept * 90_000 <= MOST_BYTES


def test_a_batch_is_bounded() -> None:
    """By number and by bytes, far below what a frame may have."""
    outbox = Outbox()
    for _ in range(BATCH_PAIRS + 1):
        outbox.offer(pair())
    batch = outbox.next_batch()
    assert batch is not None
    assert len(batch.pairs) == BATCH_PAIRS
    outbox = Outbox()
    while outbox.offer(pair(body=BODY)):
        pass
    batch = outbox.next_batch()
    assert batch is not None
    assert sum(map(pair_bytes, batch.pairs)) < BATCH_BYTES + pair_bytes(pair(body=BODY))


def test_one_batch_is_under_way_until_it_is_acknowledged() -> None:
    """Only its own number lets the next one go."""
    outbox = Outbox()
    outbox.offer(pair())
    batch = outbox.next_batch()
    assert batch is not None
    assert outbox.under_way is batch
    outbox.offer(pair())
    assert outbox.next_batch() is None
    assert not outbox.acknowledge(batch.sequence + 1)
    assert not outbox.acknowledge(batch.sequence - 1)
    assert outbox.next_batch() is None
    assert outbox.acknowledge(batch.sequence)
    assert not outbox.acknowledge(batch.sequence)
    following = outbox.next_batch()
    assert following is not None
    assert following.sequence == batch.sequence + 1


def test_nothing_to_say_is_no_batch() -> None:
    """An idle worker sends nothing."""
    assert Outbox().next_batch() is None
    assert Outbox(dict).next_batch() is None


def test_counts_alone_make_a_batch() -> None:
    """Equal answers travel as counts."""
    batch = Outbox(lambda: {("exchange", "v2", "GET /", "matched"): 3}).next_batch()
    assert batch == Batch(sequence=1, counts={("exchange", "v2", "GET /", "matched"): 3}, pairs=[])


def test_counts_that_cannot_be_drained_do_not_stop_the_pairs() -> None:
    """The error is the caller's to count; the outbox stays usable, and the next batch carries all."""
    broken = True

    def drain() -> dict[tuple[str, ...], int]:
        if broken:
            raise RuntimeError("injected")
        return {("a",): 1}

    outbox = Outbox(drain)
    outbox.offer(pair())
    with pytest.raises(RuntimeError):
        outbox.next_batch()
    broken = False
    batch = outbox.next_batch()
    assert batch is not None
    assert (len(batch.pairs), batch.counts, batch.sequence) == (1, {("a",): 1}, 1)


def test_how_full_it_is() -> None:
    """By number or by bytes, whichever is more; empty again once a batch has taken all."""
    outbox = Outbox()
    assert outbox.fullness() == 0
    outbox.offer(pair())
    assert outbox.fullness() == 1 / MOST_PAIRS
    outbox.offer(pair(body=b"x" * (MOST_BYTES // 12)))
    assert 0.25 <= outbox.fullness() < 0.26
    outbox.next_batch()
    assert outbox.fullness() == 0


def test_a_batch_that_cannot_be_said_is_counted() -> None:
    """Without its pairs, which are told as not compared; same number, so it is still counted once."""
    outbox = Outbox(lambda: {("a",): 2})
    outbox.offer(pair())
    outbox.offer(pair())
    batch = outbox.next_batch()
    assert batch is not None
    stripped = outbox.strip()
    assert stripped == Batch(
        sequence=batch.sequence, counts={("a",): 2, ("exchange", "v2", "GET /", "not_compared"): 2}, pairs=[]
    )
    assert outbox.under_way is stripped
    assert Outbox().strip() is None


@given(st.lists(st.sampled_from(["count", "pair", "send", "lose", "acknowledge"]), max_size=60))
def test_whatever_is_lost_on_the_way_is_counted_once(events: list[str]) -> None:
    """A receiver that remembers the last number of its source gets every count and pair exactly once."""
    fresh: Counter[tuple[str, ...]] = Counter()
    outbox = Outbox(lambda: {key: fresh.pop(key) for key in list(fresh)})
    counted = offered = last = 0
    got: Counter[str] = Counter()
    for event in [*events, *("send", "acknowledge") * 2]:
        if event == "count":
            fresh["n",] += 1
            counted += 1
        elif event == "pair":
            offered += outbox.offer(pair())
        elif event == "acknowledge":
            outbox.acknowledge(last)
        else:
            batch = outbox.next_batch() or outbox.under_way
            if event == "send" and batch is not None and batch.sequence > last:
                last = batch.sequence
                got["counts"] += sum(batch.counts.values())
                got["pairs"] += len(batch.pairs)
    assert (got["counts"], got["pairs"]) == (counted, offered)
