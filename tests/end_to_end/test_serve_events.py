"""Who listens for changes of the report, through the real command."""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from serve_world import PATIENCE_SECONDS, ThreadedOrigin, ask, config_text, says_json, wait_until
from servers import Serving, UnderstudyServe

from understudy.config import Limits

DRAIN_SECONDS = Limits().drain_timeout
"""What an end takes that somebody holds up."""


def priced(price: int) -> ThreadedOrigin:
    """Answers whose price is *price*."""
    return ThreadedOrigin(answer=lambda _: says_json({"price": price}))


@contextmanager
def events(serving: Serving) -> Iterator[Iterator[dict[str, Any]]]:
    """The data of every event that a listener hears."""
    connection = http.client.HTTPConnection("127.0.0.1", serving.admin_port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/api/v1/report/events")
        answer = connection.getresponse()
        assert answer.getheader("Content-Type") == "text/event-stream; charset=utf-8"
        lines = (line.decode().strip() for line in answer)
        yield (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))
    finally:
        connection.close()


def verdicts(serving: Serving) -> dict[str, str]:
    """The verdict of every finding, by its path."""
    found = [finding for row in serving.report()["endpoints"] for finding in row["findings"]]
    return {finding["path"]: finding["verdict"] for finding in found}


def test_a_listener_hears_of_evidence_and_of_rules(understudy_serve: UnderstudyServe) -> None:
    """Each is another revision; a path that is ignored by a click is ignored in what was counted before.

    The listener does not hold up the end.
    """
    with priced(10).listening() as primary, priced(11).listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port))
        with events(serving) as heard:
            first = next(heard)
            assert ask(serving.proxy_port, "/orders/1")[0] == 200
            second = next(heard)
            serving.settled_report(eligible=1)
            assert verdicts(serving)["/body/price"] != "ignored"

            rule = {"endpoint": "GET /orders/{id}", "action": "ignore", "path": "/body/price"}
            written = serving.admin("/api/v1/compare", method="POST", body=rule)
            assert written.json()["rule"] == {"endpoint": "GET /orders/{id}", "ignore": ["/body/price"]}
            third = next(word for word in heard if word["revision"] > second["revision"])
            assert first["revision"] < second["revision"] < third["revision"]
            assert verdicts(serving)["/body/price"] == "ignored"
            cohort = {"flag": "shop", "variant": "dark", "service": "v1", "requests": 1}
            wait_until(lambda: serving.report()["traffic"] == [cohort], "the cohort is counted")

            began = time.monotonic()
            assert serving.stop() == 0
            assert time.monotonic() - began < DRAIN_SECONDS
            assert all(word["revision"] > third["revision"] for word in heard)
        assert "Cancel" not in serving.server.log.read_text()
