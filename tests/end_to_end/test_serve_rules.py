"""Rules in force: everywhere before the API answers, refused whole, killed at once, kept over a restart."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from serve_world import ThreadedOrigin, always, ask, config_text, flag, followed, rules, wait_until
from servers import AdminAnswer, Serving, UnderstudyServe

RULES = "/api/v1/rules"


@contextmanager
def origins() -> Iterator[tuple[ThreadedOrigin, ThreadedOrigin]]:
    """The two versions."""
    with always().listening() as primary, always().listening() as shadow:
        yield primary, shadow


@pytest.fixture(scope="module")
def stable_scene(understudy_serve: UnderstudyServe) -> Iterator[tuple[Serving, ThreadedOrigin]]:
    """One proxy for the tests that change nothing."""
    with origins() as (primary, shadow):
        yield understudy_serve(config_text(primary.port, shadow.port)), primary


def put(serving: Serving, document: dict[str, Any], version: int | str = "*") -> AdminAnswer:
    """Replace the rules."""
    match = "*" if version == "*" else f'"{version}"'
    return serving.admin(RULES, method="PUT", body=document, headers={"If-Match": match})


def variants_seen(serving: Serving, primary: ThreadedOrigin, requests: int) -> set[str]:
    """The variants that *requests* connections, right now, are given by whichever worker gets them."""
    before = len(primary.requests())
    for _ in range(requests):
        assert ask(serving.proxy_port)[0] == 200
    return {asked.variant for asked in primary.requests()[before:]}


def test_a_change_is_in_force_everywhere_when_the_api_answers(understudy_serve: UnderstudyServe) -> None:
    """Each of two workers follows it from the very next request on; the answer says so."""
    with origins() as (primary, shadow):
        serving = understudy_serve(config_text(primary.port, shadow.port, workers=2))
        for turn in range(8):
            wanted = "stable" if turn % 2 == 0 else "dark"
            answer = followed(lambda: put(serving, rules(wanted))).json()  # noqa: B023  over before the next turn
            assert (answer["applied"], answer["workers"]) == (2, 2)
            assert variants_seen(serving, primary, 12) == {wanted}


@pytest.mark.parametrize(
    "change",
    [
        {"flags": {"shop": {**flag(), "variants": {"dark": {"serve": "nobody"}}}}},
        {"flags": {"shop": {**flag(), "defaultVariant": "nothing"}}},
        {"routes": [{"path": "/", "flag": "unknown"}]},
        {"killed": ["unknown"]},
        {"surprise": 1},
        {"flags": {"shop": flag(targeting={"fractional": [["stable", 1.5]]})}},
    ],
)
def test_an_invalid_document_is_refused_whole(
    change: dict[str, Any], understudy_serve: UnderstudyServe
) -> None:
    """422 with every mistake and its path; version, document and traffic stay as they were."""
    with origins() as (primary, shadow):
        serving = understudy_serve(config_text(primary.port, shadow.port))
        before = serving.admin(RULES)
        answer = put(serving, {**rules("stable"), **change})
        assert answer.status == 422
        assert answer.json()["errors"]
        after = serving.admin(RULES)
        assert (after.body, after.headers["etag"]) == (before.body, before.headers["etag"])
        assert variants_seen(serving, primary, 3) == {"dark"}
        serving.stop()


def test_the_second_of_two_changes_is_told_of_the_first(understudy_serve: UnderstudyServe) -> None:
    """412 with the version that is there; nothing changed."""
    with origins() as (primary, shadow):
        serving = understudy_serve(config_text(primary.port, shadow.port))
        assert put(serving, rules("stable"), 1).status == 200
        late = put(serving, rules("dark"), 1)
        assert (late.status, late.json()["actual"], late.headers["etag"]) == (412, 2, '"2"')
        wait_until(lambda: variants_seen(serving, primary, 3) == {"stable"}, "the first change")


def test_kill_wins_over_every_rule_and_revive_undoes_it(understudy_serve: UnderstudyServe) -> None:
    """At once, for all, also for those that a rule would send elsewhere."""
    to_canary = flag("stable", targeting={"if": [{"==": [1, 1]}, "canary"]})
    with origins() as (primary, shadow):
        serving = understudy_serve(
            config_text(primary.port, shadow.port, workers=2, flags={"shop": to_canary})
        )
        assert variants_seen(serving, shadow, 6) == {"canary"}
        burns = {"reason": "it burns"}
        killed = followed(lambda: serving.admin("/api/v1/flags/shop/kill", method="POST", body=burns))
        assert killed.json()["applied"] == 2
        assert variants_seen(serving, primary, 12) == {"stable"}
        assert serving.admin("/api/v1/flags/shop/kill", method="POST").json()["version"] == 2
        revived = followed(lambda: serving.admin("/api/v1/flags/shop/revive", method="POST"))
        assert revived.json()["version"] == 3
        assert variants_seen(serving, shadow, 12) == {"canary"}
        assert serving.admin("/api/v1/flags/unknown/kill", method="POST").status == 404
        history = serving.admin(f"{RULES}/history").json()["versions"]
        assert [entry["reason"] for entry in history][1] == "it burns"


def test_a_restart_keeps_rules_counts_and_kills(understudy_serve: UnderstudyServe) -> None:
    """The store is the truth, not the file; what was counted is counted on."""
    with origins() as (primary, shadow):
        text = config_text(primary.port, shadow.port, shadow={"control": 0})
        first = understudy_serve(text)
        put(first, rules("dark", killed=[], metadata={"note": "mine"}))
        for _ in range(5):
            ask(first.proxy_port)
        report = first.settled_report(eligible=5)
        assert report["matched"] == 5
        assert first.admin("/api/v1/flags/shop/kill", method="POST").status == 200
        assert first.stop() == 0
        second = understudy_serve(text, folder=first.folder)
        assert variants_seen(second, primary, 3) == {"dark"}  # the default variant is the safe one
        assert second.admin(RULES).json()["killed"] == ["shop"]
        assert second.admin(RULES).headers["etag"] == '"3"'
        again = second.settled_report(eligible=8)
        assert (again["exchanges"], again["matched"], again["with_control"]) == (8, 8, 0)
        assert second.admin("/api/v1/flags/shop/revive", method="POST").json()["version"] == 4


def test_a_rule_that_fails_gives_the_default_variant_and_is_counted(
    understudy_serve: UnderstudyServe,
) -> None:
    """A type no operator takes, met at run time only: nobody gets an error page for it."""
    failing = flag(
        "stable", targeting={"if": [{"sem_ver": [{"var": "headers.x-app"}, "^", "1.0"]}, "canary"]}
    )
    wrong = flag("stable", targeting={"var": "headers.x-variant"})
    with origins() as (primary, shadow):
        text = config_text(
            primary.port,
            shadow.port,
            flags={"shop": wrong, "app": failing},
            routes=[{"path": "/app", "flag": "app"}, {"path": "/", "flag": "shop"}],
        )
        serving = understudy_serve(text)
        assert ask(serving.proxy_port, "/x", "X-Variant: no-such-variant")[0] == 200
        assert ask(serving.proxy_port, "/x", "X-Variant: canary")[0] == 200
        assert ask(serving.proxy_port, "/app", "X-App: not-a-version")[0] == 200
        assert {asked.variant for asked in primary.requests()} == {"stable"}
        assert {asked.variant for asked in shadow.requests()} == {"canary"}
        counted = 'understudy_decide_errors_total{flag="shop"} 1.0'
        wait_until(lambda: counted in serving.admin("/metrics").body.decode(), "the counted error")
