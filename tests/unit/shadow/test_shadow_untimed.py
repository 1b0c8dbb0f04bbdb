"""Answers that were left unread for a while: they are compared, and their time is no evidence."""

from shadow_examples import OK_JSON, Rehearsal, primary_says

from understudy.shadow.target import TRIPS_AFTER


def test_an_answer_that_was_held_has_no_time() -> None:
    """The service is not blamed for what this process did; the answer counts as every other."""
    rehearsal = Rehearsal()
    for was_held in (False, True):
        exchange, (call,) = rehearsal.sent()
        primary_says(exchange)
        connection = rehearsal.connection_of(call)
        connection.was_held = was_held
        connection.data_received(OK_JSON)
        connection.was_held = False
    counts = rehearsal.mirror.drain()
    timed = {
        key[3]: n for key, n in counts.items() if key[0] == "latency" and key[3] in ("primary", "shadow")
    }
    assert timed == {"primary": 1, "shadow": 1}
    assert sum(n for key, n in counts.items() if key[0] == "exchange" and key[3] == "matched") == 2
    rehearsal.assert_lawful()


def test_what_is_left_unread_until_the_deadline_is_not_the_services_fault() -> None:
    """However often: no breaker opens and no origin is blamed; what is read and does not end is a timeout."""
    rehearsal = Rehearsal()
    for is_held in [True] * TRIPS_AFTER + [False]:
        exchange, (call,) = rehearsal.sent()
        primary_says(exchange)
        rehearsal.connection_of(call).is_held = is_held
        rehearsal.seconds += rehearsal.mirror.limits.timeout_seconds + 1
        rehearsal.mirror.sweep(rehearsal.seconds)
    (target,) = rehearsal.targets
    assert target.reasons == {("failed", "held"): TRIPS_AFTER, ("failed", "timeout"): 1}
    assert (target.failures, rehearsal.pools["v2"].health.failures) == (1, 1)
    rehearsal.assert_lawful()
