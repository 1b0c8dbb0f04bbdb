"""`understudy.demo.play`: when the evidence is complete, and what counts as a run gone wrong."""

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from understudy.demo import play as stage
from understudy.demo.children import Child
from understudy.demo.next_release import NextShop
from understudy.demo.play import configuration, is_settled, problems_of, problems_of_counts
from understudy.demo.shop import Shop
from understudy.demo.traffic import Tally

PORTS = {"proxy_port": 1, "admin_port": 2, "v1_port": 3, "v2_port": 4}


def mirror(eligible: int, sent: int, answered: int, **more: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"skipped": {}, "dropped": {}, "failed": {}}
    return {"eligible": eligible, "sent": sent, "answered": answered, **empty, **more}


@pytest.mark.parametrize(
    ("books", "settled"),
    [
        (mirror(10, 10, 10), True),
        (mirror(10, 7, 6, skipped={"method": 2}, dropped={"in_flight": 1}, failed={"timeout": 1}), True),
        (mirror(10, 9, 9), False),
        (mirror(10, 10, 9), False),
        (mirror(0, 0, 0), False),
        (mirror(5, 0, 0, skipped={"method": 5}), False),
    ],
)
def test_the_evidence_is_settled_when_the_books_balance(books: dict[str, Any], settled: bool) -> None:
    """Every eligible request has gone somewhere, every sent one has an outcome, and one was answered."""
    assert is_settled(books) is settled


def test_metrics_must_agree_with_the_clients() -> None:
    """Requests by cohort, as counted by the proxy, are the answers by release that clients saw."""
    tally = Tally(by_release=Counter({Shop.release: 90, NextShop.release: 10}))
    assert problems_of_counts(tally, {"stable": 30, "dark": 60, "canary": 10}) == []
    assert problems_of_counts(tally, {"stable": 30, "dark": 59, "canary": 11}) == [
        "canary: the metrics count 11 requests, the clients 10",
        "stable and dark: the metrics count 89 requests, the clients 90",
    ]


def test_wrong_answers_and_split_users_are_problems() -> None:
    """A clean tally has no problem; a wrong answer or a user who met two releases is one each."""
    assert problems_of(Tally(asked=3)) == []
    tally = Tally(
        asked=3, wrong=1, examples=["GET /x: status 502"], releases={"u1": {Shop.release, NextShop.release}}
    )
    assert problems_of(tally) == [
        "1 of 3 answers were wrong, such as: GET /x: status 502",
        "1 users met two releases, such as u1",
    ]


def test_the_configuration_is_filled_in() -> None:
    """Ports go in, and what the rules language spells with a dollar stays."""
    document = yaml.safe_load(configuration(PORTS))
    assert document["listen"] == "127.0.0.1:1"
    assert document["services"]["shop-v2"]["url"] == "http://127.0.0.1:4"
    assert "$flagd.flagKey" in configuration(PORTS)
    assert "${" not in configuration(PORTS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_ends_its_children_and_says_so(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C and SIGTERM end alike: what was started is stopped, one line is said, status 130."""
    ended: list[str] = []

    def interrupted(_folder: Path, children: Any) -> Any:
        children.callback(ended.append, "shop")
        signal.raise_signal(signal.Signals(number))
        raise AssertionError("the signal must not be lost")

    before = [signal.getsignal(known) for known in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(stage, "raise_curtain", interrupted)
    assert stage.play(once=True, requests=1, folder=tmp_path / "demo", seed=1) == stage.INTERRUPTED
    assert ended == ["shop"]
    assert "Stopped." in capsys.readouterr().out
    assert [signal.getsignal(known) for known in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_demo_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A child that does not come up is explained by the end of its log, without a traceback."""

    def failing(folder: Path, children: Any) -> Any:
        child = Child.start("understudy serve", ["-c", "raise SystemExit(3)"], log=folder / "serve.log")
        children.callback(child.stop)
        child.process.wait(60)
        (folder / "serve.log").write_text("127.0.0.1:1: address in use [sic]\n")
        child.check()

    monkeypatch.setattr(stage, "raise_curtain", failing)
    assert stage.play(once=True, requests=1, folder=tmp_path, seed=1) == 1
    said = capsys.readouterr().out
    assert "understudy serve ended with status 3" in said
    assert "127.0.0.1:1: address in use [sic]" in said
    assert "Traceback" not in said
