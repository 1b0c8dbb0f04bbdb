"""The control process dies, hangs and comes back: no request notices, and no evidence is lost or doubled."""

import os
import signal
from typing import Any

from serve_world import (
    PATIENCE_SECONDS,
    Load,
    ThreadedOrigin,
    always,
    ask,
    children_of,
    config_text,
    control_of,
    end_by_force,
    followed,
    rules,
    says_json,
    wait_until,
)
from servers import Serving, UnderstudyServe


def differing() -> ThreadedOrigin:
    """A next version whose every answer differs from `always`, so that every pair travels."""
    return always(says_json({"ok": False}))


def kill_control(serving: Serving) -> int:
    """End the control process by force; its former id."""
    victim = control_of(serving.server.process.pid, serving.admin_port)
    end_by_force(victim)
    return victim


def assert_conserved(report: dict[str, Any], *, requests: int) -> None:
    """Every request was eligible, every copy is accounted for, every answer compared exactly once."""
    mirror = report["mirror"]
    gone = sum(sum(mirror[what].values()) for what in ("skipped", "dropped"))
    assert mirror["eligible"] == requests
    assert mirror["eligible"] == mirror["sent"] + gone
    assert mirror["sent"] == mirror["answered"] + sum(mirror["failed"].values())
    assert report["exchanges"] + report["passed_over"] == mirror["answered"]
    findings = [finding for endpoint in report["endpoints"] for finding in endpoint["findings"]]
    assert [finding["differing"] for finding in findings] == [report["exchanges"]]


def test_a_killed_control_process_costs_no_request_and_no_count(understudy_serve: UnderstudyServe) -> None:
    """Three times under load: all requests answered, it comes back, the evidence adds up to the last copy."""
    with always().listening() as primary, differing().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port, workers=2))
        with Load(serving.proxy_port, clients=4, pause_seconds=0.002) as load:
            for _ in range(3):
                load.until_answered(50)
                victim = kill_control(serving)
                load.until_answered(50)
                wait_until(serving.is_ready, "the control process again")
                assert control_of(serving.server.process.pid, serving.admin_port) != victim
            load.until_answered(50)
            tally = load.stop()
        assert (tally.failed, tally.refused) == ([], 0)
        report = serving.settled_report(eligible=tally.answered)
        assert_conserved(report, requests=tally.answered)
        assert tally.answered == len(primary.requests())


def test_workers_serve_while_the_control_process_hangs(understudy_serve: UnderstudyServe) -> None:
    """Stopped, not dead: nobody reads the link. Requests go on; afterwards nothing is missing."""
    with always().listening() as primary, differing().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port))
        control = control_of(serving.server.process.pid, serving.admin_port)
        os.kill(control, signal.SIGSTOP)
        try:
            with Load(serving.proxy_port, clients=4) as load:
                load.until_answered(300)
                tally = load.stop()
        finally:
            os.kill(control, signal.SIGCONT)
        assert (tally.failed, tally.refused) == ([], 0)
        assert_conserved(serving.settled_report(eligible=tally.answered), requests=tally.answered)


def test_a_worker_that_dies_loses_only_what_it_had_not_said(understudy_serve: UnderstudyServe) -> None:
    """What its successor counts is added; no count of the dead one is added twice."""
    with always().listening() as primary, differing().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port))
        for _ in range(20):
            ask(serving.proxy_port)
        assert serving.settled_report(eligible=20)["exchanges"] == 20
        control = control_of(serving.server.process.pid, serving.admin_port)
        worker = next(pid for pid in children_of(serving.server.process.pid) if pid != control)
        end_by_force(worker)
        wait_until(lambda: ask(serving.proxy_port)[0] == 200, "the next worker")
        wait_until(serving.is_ready, "the next worker's link")
        for _ in range(10):
            ask(serving.proxy_port)
        assert serving.settled_report(eligible=len(primary.requests()))["exchanges"] == len(
            shadow.requests("1")
        )


def test_rules_in_memory_outlive_the_control_process(understudy_serve: UnderstudyServe) -> None:
    """The workers hand them back: the kill stands, versions go on upward, and the next change is followed."""
    with always().listening() as primary, always().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port, store="memory://", workers=2))
        for wanted in ("stable", "canary", "dark"):
            serving.admin("/api/v1/rules", method="PUT", body=rules(wanted), headers={"If-Match": "*"})
        killed = followed(lambda: serving.admin("/api/v1/flags/shop/kill", method="POST")).json()
        assert (killed["version"], killed["applied"]) == (5, 2)
        kill_control(serving)
        assert ask(serving.proxy_port)[0] == 200

        def is_back() -> bool:
            return bool(serving.is_ready() and serving.admin("/api/v1/rules").json()["killed"] == ["shop"])

        wait_until(is_back, "the rules that the workers have")
        version = int(serving.admin("/api/v1/rules").headers["etag"].strip('"'))
        assert version == 6
        change = followed(lambda: serving.admin("/api/v1/flags/shop/revive", method="POST")).json()
        assert (change["version"], change["applied"], change["workers"]) == (7, 2, 2)


def test_sigterm_while_the_control_process_hangs_still_ends(understudy_serve: UnderstudyServe) -> None:
    """Workers wait for a last acknowledgement, but not for ever; what does not end is ended by force."""
    with always().listening() as primary, differing().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port, limits={"drain_timeout": "1s"}))
        control = control_of(serving.server.process.pid, serving.admin_port)
        ask(serving.proxy_port)
        os.kill(control, signal.SIGSTOP)
        ask(serving.proxy_port)
        serving.server.process.terminate()
        assert serving.server.process.wait(PATIENCE_SECONDS) == 1
        assert "Traceback" not in serving.server.log.read_text()


def test_counters_do_not_fall_while_the_control_process_comes_back(understudy_serve: UnderstudyServe) -> None:
    """It tells no sum before it has heard both workers; what it tells then is no less than before."""
    with always().listening() as primary, always().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port, workers=2))
        for _ in range(40):
            ask(serving.proxy_port)
        wait_until(lambda: answered_requests(serving) == 40, "the count of all requests")
        victim = kill_control(serving)
        seen = []

        def is_whole_again() -> bool:
            seen.append(answered_requests(serving))
            return (
                seen[-1] is not None and control_of(serving.server.process.pid, serving.admin_port) != victim
            )

        wait_until(is_whole_again, "the counts of both workers")
        assert {count for count in seen if count is not None} == {40}


def answered_requests(serving: Serving) -> float | None:
    """The sum over all workers; None while it is not told."""
    text = serving.admin("/metrics").body.decode()
    if "# TYPE understudy_requests_total" not in text:
        return None
    return sum(
        float(line.split()[-1]) for line in text.splitlines() if line.startswith("understudy_requests_total{")
    )
