"""The middleware under servers that people run: all decide as `understudy.decide`, and lose no evidence."""

import http.client
import json
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from served_shops import (
    LEFT,
    REPLACED,
    RULES,
    SERVERS,
    Asked,
    ask,
    leave,
    other_shop,
    report,
    shop,
    until,
    until_told,
)
from server_shops import LINE
from servers import ANSWER_SECONDS

from understudy.config import parse_rules, parse_yaml
from understudy.decide import compile_rules
from understudy.messages import RequestHead


def decided(users: Sequence[str]) -> dict[str, str]:
    """The variant of each user, by the rules alone."""
    rules = parse_rules(parse_yaml(RULES), services=["app", "v2"])
    compiled = compile_rules(flags=rules.flags, routes=rules.routes)
    found = {}
    for user in users:
        decision = compiled.decide(RequestHead(headers=((b"x-user", user.encode()),)))
        assert decision is not None
        found[user] = decision.variant
    return found


USERS = decided([f"user-{number}" for number in range(40)])
DARK, CANARY = (next(user for user, met in USERS.items() if met == variant) for variant in ("dark", "canary"))


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_decides_streams_and_tells_all(tmp_path: Path, name: str) -> None:
    """Users meet what the rules say; streams come whole and are closed once; the exit loses no evidence."""
    requests = [
        Asked(user=user, path=f"/orders/{at}", body=b"x" * (at % 2) * 5000) for at, user in enumerate(USERS)
    ]
    with other_shop() as v2, shop(tmp_path, v2, SERVERS[name]) as running:
        answers = ask(running, requests)
        streams = ask(running, [Asked(user=user, path="/lines/20") for user in (DARK, CANARY)])
        leave(running, Asked(user=DARK, path=f"/lines/{LEFT}"))
        until(lambda: LEFT in running.closed, "the stream that was left is closed")
        status = running.server.stop()
        told = report(tmp_path, eligible=1)

    assert not [answer for answer in answers if answer.status != 200]
    assert [answer.fields["x-variant"] for answer in answers] == list(USERS.values())
    for asked, answer in zip(requests, answers, strict=True):
        price = "2" if USERS[asked.user] == "canary" else "1"
        number = asked.path.rpartition("/")[2]
        assert json.loads(answer.body) == {"order": number, "read": len(asked.body), "price": price}
    assert [answer.body for answer in streams] == [LINE * 20] * 2
    assert running.closed == [20, LEFT]
    assert status == running.how.status

    dark = Counter(USERS.values())["dark"] + 2 + (running.how.speaks == 2)
    mirror = told["mirror"]
    books = {key: n if isinstance(n, int) else sum(n.values()) for key, n in mirror.items()}
    assert books["eligible"] == dark == books["sent"] + books["skipped"] + books["dropped"], mirror
    assert books["sent"] == books["answered"] + books["failed"], mirror
    # A server may take the whole of an answer that nobody reads any more: then that is compared, too. And it
    # may take the client who asks last over HTTP/2, and goes, for gone before the end of that answer.
    # On a busy machine a copy may come too late: that is booked.
    ended = told["exchanges"] + told["passed_over"] + books["failed"]
    perhaps = 1 + (running.how.speaks == 2)
    assert dark - perhaps <= ended <= dark, mirror
    found = {found["path"] for endpoint in told["endpoints"] for found in endpoint["findings"]}
    assert found == {"/body/price", "/headers/x-shop"}


@pytest.mark.parametrize("name", REPLACED)
def test_a_restart_of_the_workers_loses_no_evidence(tmp_path: Path, name: str) -> None:
    """HUP puts new workers in the place of those that answer: nobody fails, and every copy is booked."""
    requests = [Asked(user=DARK, path="/orders/1")] * 20
    with other_shop() as v2, shop(tmp_path, v2, SERVERS[name]) as running:
        answered = ask(running, requests)
        for booted in (4, 6):
            running.server.process.send_signal(signal.SIGHUP)
            answered += ask(running, requests)
            until_told(running, "Booting worker", times=booted)
            answered += ask(running, requests)
        assert running.server.stop() == 0
        mirror = report(tmp_path, eligible=100)["mirror"]

    assert [answer.status for answer in answered] == [200] * 100
    assert mirror["eligible"] == mirror["sent"] == mirror["answered"] == 100


@pytest.mark.parametrize("name", REPLACED)
def test_a_graceful_stop_ends_what_is_under_way(tmp_path: Path, name: str) -> None:
    """A stream that is half sent when the server is told to stop comes whole, and is booked."""
    with other_shop() as v2, shop(tmp_path, v2, SERVERS[name]) as running:
        client = http.client.HTTPConnection("127.0.0.1", running.server.port, timeout=ANSWER_SECONDS)
        client.request("GET", f"/lines/{LEFT}", headers={"X-User": DARK})
        answer = client.getresponse()
        size = len(answer.read(1000))
        running.server.process.terminate()
        until_told(running, "Handling signal: term")
        size += len(answer.read())
        client.close()
        assert running.server.stop() == 0
        mirror = report(tmp_path, eligible=1)["mirror"]

    assert size == LEFT * len(LINE)
    assert running.closed == [LEFT]
    assert mirror["eligible"] == mirror["sent"] == 1
