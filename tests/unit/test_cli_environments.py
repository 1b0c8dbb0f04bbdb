"""`understudy environments`, `flags promote` and `--environment`, against a real admin server."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_world import Plane, forget_variables, served
from cli_world import run as invoke

from understudy.access import Deed, Role
from understudy.admin import Environments, Keyring, create_admin
from understudy.store import MemoryStore

Run = Callable[..., Any]


def document(*weights: int, serve: str = "v1", state: str = "ENABLED") -> dict[str, Any]:
    """Rules with one flag, whose weights for its two variants are *weights*."""
    drawn = [["canary", weights[0]], ["stable", weights[1]]]
    shop = {
        "state": state,
        "variants": {"canary": {"serve": serve}, "stable": {"serve": "v1"}},
        "defaultVariant": "stable",
        "targeting": {"fractional": drawn},
    }
    routes = [{"path": "/", "flag": "shop", "unit": "cookie:uid"}]
    return {"flags": {"shop": shop}, "routes": routes, "compare": [], "killed": []}


@pytest.fixture
def store() -> MemoryStore:
    """Of ``dev``, with other rules in ``prod``."""
    made = MemoryStore(environment="dev")
    prod, staging = made.of("prod"), made.of("staging")

    async def fill() -> None:
        for opened in (made, prod, staging):
            await opened.open()
        for opened, rules in ((prod, document(5, 95)), (staging, document(50, 50))):
            await opened.put_rules(rules, expected=0, author="ann", reason="first", at=1_700_000_000.0)

    asyncio.run(fill())
    return made


@pytest.fixture
def run(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs ``understudy`` with arguments against the admin server of ``dev``."""
    forget_variables(monkeypatch)
    plane = Plane()
    environments = Environments(store, plane, services=lambda: ("v1",))
    keyring = Keyring(store, tokens=(), environment="dev")
    with served(create_admin(plane, keyring=keyring, environments=environments)) as url:
        monkeypatch.setenv("UNDERSTUDY_ADMIN", url)
        yield invoke


def weights_in(store: MemoryStore, name: str) -> Any:
    rules = asyncio.run(store.of(name).rules())
    assert rules is not None
    return rules.document["flags"]["shop"]["targeting"]["fractional"]


PROMOTE = ("flags", "promote", "shop", "--from", "staging", "--to", "prod")


def test_environments_are_listed(run: Run) -> None:
    """By name, with the newest version of each; as JSON as the API has it."""
    listed = run("environments", "list")
    assert [line.split()[:3] for line in listed.stdout.splitlines()] == [
        ["prod", "version", "1"],
        ["staging", "version", "1"],
    ]
    told = json.loads(run("environments", "list", "--json").stdout)
    assert [environment["name"] for environment in told["environments"]] == ["prod", "staging"]


def test_what_a_promotion_changes_is_shown_and_nothing_done(run: Run, store: MemoryStore) -> None:
    """What stays as it is there, too, and how it would travel."""
    shown = run(*PROMOTE, "--dry-run")
    assert (shown.exit_code, shown.stdout.splitlines()[0]) == (0, "shop: staging version 1 → prod version 1")
    assert "prod has it so already" in shown.stdout
    assert "--with weights" in shown.stdout
    shown = run(*PROMOTE, "--dry-run", "--with", "weights")
    assert "/flags/shop/targeting/fractional" in shown.stdout
    assert ("  - " in shown.stdout, "  + " in shown.stdout) == (True, True)

    assert weights_in(store, "prod") == [["canary", 5], ["stable", 95]]


def test_the_difference_is_in_color_for_people(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old lines in red, new ones in green; plain where nobody asks for colors."""
    asked = (*PROMOTE, "--dry-run", "--with", "weights")
    assert "\x1b" not in run(*asked, color=True).stdout
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = run(*asked, color=True).stdout

    assert ("\x1b[31m  - " in shown, "\x1b[32m  + " in shown) == (True, True)


def test_a_promotion_is_made_by_who_says_yes(run: Run, store: MemoryStore) -> None:
    """In a pipeline by --yes alone; then the target has a new version, with the reason in the audit."""
    refused = run(*PROMOTE, "--with", "weights")
    assert (refused.exit_code, "--yes, or --dry-run" in refused.stderr) == (64, True)
    assert weights_in(store, "prod") == [["canary", 5], ["stable", 95]]
    made = run(*PROMOTE, "--with", "weights", "--yes", "--reason", "a week is over")
    assert (made.exit_code, made.stdout.splitlines()[-1]) == (
        0,
        "shop is promoted: prod has rules version 2",
    )

    assert weights_in(store, "prod") == [["canary", 50], ["stable", 50]]
    deed: Deed = asyncio.run(store.audit())[-1].deed
    assert (deed.environment, deed.reason) == ("prod", "promote shop from staging version 1: a week is over")
    again = json.loads(run(*PROMOTE, "--with", "weights", "--yes", "--json").stdout)
    assert again["changes"] == []


def test_what_does_not_fit_is_refused_with_its_place(run: Run, store: MemoryStore) -> None:
    """A service that the target has not; the dry run says it as well."""
    rules = document(50, 50, serve="v9")
    asyncio.run(store.of("staging").put_rules(rules, expected=1, author="a", reason="", at=1.0))
    for more in ("--yes", "--dry-run"):
        refused = run(*PROMOTE, more)
        assert (refused.exit_code, "flags.shop.variants.canary.serve" in refused.stderr) == (1, True)
        assert "1 problem in shop for prod" in refused.stderr

    assert asyncio.run(store.of("prod").version()) == 1


def test_an_environment_or_a_flag_that_is_not_there_is_told(run: Run) -> None:
    """With those that are."""
    wrong = run("flags", "promote", "shop", "--from", "staging", "--to", "prd")
    assert (wrong.exit_code, "there are prod, staging" in wrong.stderr) == (1, True)
    wrong = run("flags", "promote", "shpo", "--from", "staging", "--to", "prod")
    assert (wrong.exit_code, "there are shop" in wrong.stderr) == (1, True)


def test_rules_of_an_environment_by_option(run: Run, store: MemoryStore, tmp_path: Path) -> None:
    """Read, replaced, looked back at and restored, where they are."""
    got = json.loads(run("rules", "get", "--environment", "prod", "--format", "json").stdout)
    assert got == {"version": 1, **document(5, 95)}
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"version": 1, **document(7, 93)}))
    put = run("rules", "put", str(file), "--environment", "prod", "--reason", "more")
    assert (put.exit_code, put.stdout) == (0, "the rules are replaced (prod, rules version 2)\n")
    history = run("rules", "history", "--environment", "prod").stdout.splitlines()
    assert [line.split()[0] for line in history] == ["2", "1"]
    assert "fractional" in run("rules", "diff", "1", "2", "--environment", "prod").stdout
    assert run("rules", "restore", "1", "--environment", "prod").exit_code == 0

    assert weights_in(store, "prod") == [["canary", 5], ["stable", 95]]


def test_a_token_for_some_environments(run: Run, store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made with a role for each, listed with them, refused where it has none."""
    admin = run("token", "create", "ann", "--role", "admin").stdout.strip()
    monkeypatch.setenv("UNDERSTUDY_TOKEN", admin)
    made = run(
        "token",
        "create",
        "ci",
        "--role",
        "editor",
        "--environment",
        "staging",
        "--environment",
        "prod=viewer",
    )
    assert "(prod: viewer, staging: editor, " in made.stderr
    assert "prod: viewer, staging: editor" in run("token", "list").stdout
    assert asyncio.run(store.tokens())[-1].roles == {"staging": Role.EDITOR, "prod": Role.VIEWER}
    ci = made.stdout.strip()
    assert run(*PROMOTE, "--dry-run", "--token", ci).exit_code == 0
    refused = run(*PROMOTE, "--with", "weights", "--yes", "--token", ci)
    assert (refused.exit_code, "this needs the role editor in prod" in refused.stderr) == (1, True)


@pytest.mark.parametrize("given", [["prod=king"], ["prod", "prod=viewer"]])
def test_roles_that_say_nothing_sensible_are_refused(run: Run, given: list[str]) -> None:
    """Before anything is sent."""
    options = [word for one in given for word in ("--environment", one)]

    assert run("token", "create", "ci", *options).exit_code == 64
