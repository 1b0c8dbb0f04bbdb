"""Answers that were left unread for a while: they are compared, and their time is no evidence."""

from shadow_examples import OK_JSON, Rehearsal, primary_says


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
