"""`understudy token` and `understudy audit`, against the real admin server on a real socket."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_world import Plane, forget_variables, served
from cli_world import run as invoke

from understudy.admin import Keyring, create_admin
from understudy.store import MemoryAccess

Run = Callable[..., Any]


@pytest.fixture
def store() -> MemoryAccess:
    """Where tokens and audit are kept."""
    return MemoryAccess()


@pytest.fixture
def run(store: MemoryAccess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs ``understudy`` with arguments against a server that has no token yet."""
    forget_variables(monkeypatch)
    with served(create_admin(Plane(), keyring=Keyring(store, tokens=()))) as url:
        monkeypatch.setenv("UNDERSTUDY_ADMIN", url)
        yield invoke


def first_token(run: Run, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make the first token, and show it from now on."""
    text = str(run("token", "create", "ann", "--role", "admin").stdout).strip()
    monkeypatch.setenv("UNDERSTUDY_TOKEN", text)
    return text


def test_a_tokens_life(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made, printed alone on standard output, asked for everywhere, listed without secret, revoked."""
    assert "every user of this machine" in run("token", "list").stdout
    made = run("token", "create", "ann", "--role", "admin")
    text = made.stdout.strip()
    assert (made.exit_code, len(text.split("\n")), text[:4]) == (0, 1, "ust_")
    assert "from now on the admin API asks everybody for a token" in made.stderr

    refused = run("rules", "get")
    assert refused.exit_code == 1
    assert "--token TOKEN, or UNDERSTUDY_TOKEN" in refused.stderr
    assert run("rules", "get", "--token", text).exit_code == 0
    monkeypatch.setenv("UNDERSTUDY_TOKEN", text)
    assert run("kill", "shop", "--reason", "a drill").exit_code == 0

    other = json.loads(run("token", "create", "ci", "--days", "30", "--json").stdout)
    listed = run("token", "list")
    assert other["token"] not in listed.stdout
    assert [part for part in ("ci ", "viewer", "ends 20") if part not in listed.stdout] == []
    revoked = run("token", "revoke", other["selector"], "--reason", "done")
    assert revoked.stdout == f"{other['selector']} (ci) is revoked\n"
    assert "revoked 20" in run("token", "list").stdout
    assert run("rules", "get", "--token", other["token"]).exit_code == 1
    assert run("token", "revoke", other["selector"]).exit_code == 1


def test_a_role_that_is_too_small_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the one that is needed."""
    first_token(run, monkeypatch)
    viewer = run("token", "create", "ci").stdout.strip()
    refused = run("kill", "shop", "--token", viewer)
    assert refused.exit_code == 1
    assert "this needs the role operator; ci (" in refused.stderr


@pytest.mark.parametrize("token", ["a b", "a\nb", "é"])
def test_what_cannot_be_a_token_is_not_sent(run: Run, token: str) -> None:
    """It could not be written into a header."""
    refused = run("rules", "get", "--token", token)
    assert (refused.exit_code, "--token is no API token" in refused.stderr) == (64, True)


def test_the_first_token_is_an_admins(run: Run) -> None:
    """A viewer's would lock everybody out."""
    refused = run("token", "create", "ci")
    assert (refused.exit_code, "--role admin" in refused.stderr) == (1, True)


def test_the_audit_is_exported_and_verified(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As lines of JSON; the head that it prints is found again, in the file and at the server."""
    first_token(run, monkeypatch)
    for name in ("b", "c", "d"):
        run("token", "create", name)
    file = tmp_path / "audit.jsonl"
    exported = run("audit", "export", "-o", str(file))
    head = exported.stderr.strip().removeprefix("head ")
    assert [json.loads(line)["action"] for line in file.read_text().splitlines()] == ["token.create"] * 4
    assert run("audit", "export").stdout == file.read_text()

    for where in ([], [str(file)]):
        without = run("audit", "verify", *where)
        assert (without.exit_code, without.stdout) == (
            0,
            f"4 entries, all as they were written; head {head}\n",
        )
        assert "no head was given" in without.stderr
        verified = run("audit", "verify", *where, "--head", head)
        assert (verified.exit_code, verified.stderr) == (0, "")


@pytest.mark.parametrize(
    ("forge", "told"),
    [
        (lambda lines: [lines[0].replace('"ann', '"eve'), *lines[1:]], "entry 1 is not as it was written"),
        (lambda lines: [lines[0], *lines[2:]], "entry 2 is missing: deleted"),
        (lambda lines: [lines[0], *lines], "entry 1 stands after entry 1: reordered, or inserted"),
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], "entry 2 stands after entry 3: reordered"),
        (lambda lines: lines[:2], "entries 3 to 4 are missing at the end: truncated"),
        (lambda lines: [], "entries 1 to 4 are missing at the end: truncated"),
    ],
)
def test_what_was_done_to_an_export_is_found(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, forge: Any, told: str
) -> None:
    """Exit 1, and which entry it is."""
    first_token(run, monkeypatch)
    for name in ("b", "c", "d"):
        run("token", "create", name)
    file = tmp_path / "audit.jsonl"
    head = run("audit", "export", "-o", str(file)).stderr.strip().removeprefix("head ")
    file.write_text("".join(forge(file.read_text().splitlines(keepends=True))))
    found = run("audit", "verify", str(file), "--head", head)
    assert (found.exit_code, told in found.stderr) == (1, True)


def test_what_was_cut_off_in_the_store_is_found(
    run: Run, store: MemoryAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the head that was kept, also when the store's own head was put back."""
    first_token(run, monkeypatch)
    run("token", "create", "b")
    head = run("audit", "export").stderr.strip().removeprefix("head ")
    store._entries.pop()
    found = run("audit", "verify", "--head", head)
    assert (found.exit_code, "entry 2 is missing at the end: truncated" in found.stderr) == (1, True)


@pytest.mark.parametrize("again", [-1, 0])
def test_an_audit_into_which_entries_were_put_comes_to_an_end(
    run: Run, store: MemoryAccess, monkeypatch: pytest.MonkeyPatch, again: int
) -> None:
    """What stands twice in the store is found, and not asked for without end."""
    first_token(run, monkeypatch)
    for name in ("b", "c"):
        run("token", "create", name)
    store._entries.append(store._entries[again])
    found = run("audit", "verify")
    assert (found.exit_code, "reordered, or inserted" in found.stderr) == (1, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [("x\n", "line 1: is no JSON"), ("{}\n", "entry 1: is no audit entry"), ("7\n", "entry 1")],
)
def test_what_is_no_export_is_refused(run: Run, tmp_path: Path, text: str, told: str) -> None:
    """With the place."""
    file = tmp_path / "audit.jsonl"
    file.write_text(text)
    refused = run("audit", "verify", str(file))
    assert (refused.exit_code, told in refused.stderr) == (1, True)


def test_a_head_that_is_none_is_refused(run: Run) -> None:
    """Before anything is asked."""
    refused = run("audit", "verify", "--head", "7")
    assert (refused.exit_code, "no head of an audit" in refused.stderr) == (64, True)


def test_versions_are_listed_compared_and_restored(run: Run) -> None:
    """With who and why; a version that is not kept is told."""
    assert run("rules", "history").stdout.splitlines()[0].split()[0] == "7"
    assert run("rules", "diff", "7", "7").stdout == "versions 7 and 7 say the same\n"
    restored = run("rules", "restore", "7", "--reason", "a drill")
    assert restored.stdout.startswith("the rules are those of version 7 again (rules version 8")
    missing = run("rules", "diff", "1", "8")
    assert (missing.exit_code, "there is no version '1'" in missing.stderr) == (1, True)


def test_the_rules_of_a_time_are_shown(run: Run) -> None:
    """Who stored them, and the document; a time before all rules is told."""
    now = "2100-01-01T00:00:00Z"
    assert run("rules", "history", "--at", now).stdout.split()[0] == "7"
    assert run("rules", "get", "--at", now).stdout == run("rules", "get").stdout
    for command in ("history", "get"):
        missing = run("rules", command, "--at", "1960-01-01T00:00:00+01:00")
        assert (missing.exit_code, "there were no rules at that time" in missing.stderr) == (1, True)
