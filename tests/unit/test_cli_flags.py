"""`understudy flag …` against the real admin server, over a real rulebook, on a real socket."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from admin_book import DOCUMENT, SHOP, BookControl
from cli_world import forget_variables, run, served

from understudy.admin import create_admin
from understudy.cli import flag_change
from understudy.config import parse_yaml, write_yaml

WEIGHED = {"fractional": [["canary", 20], ["stable", 80]]}


@pytest.fixture
def control() -> BookControl:
    """The rulebook that the admin server shows and changes."""
    return BookControl()


@pytest.fixture
def url(control: BookControl) -> Iterator[str]:
    """The address of a running admin server."""
    with served(create_admin(control), begin=control.begin) as url:
        yield url


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_variables(monkeypatch)


@pytest.fixture
def attended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody is there to answer."""
    monkeypatch.setattr(flag_change, "is_attended", lambda: True)


def test_flags_are_listed(url: str, control: BookControl) -> None:
    """A line for each, with what one looks for."""
    assert run("kill", "banner", "--admin", url).exit_code == 0
    lines = [line.split() for line in run("flag", "list", "--admin", url).stdout.splitlines()]
    assert lines[0] == ["flag", "state", "default", "variants", "owner", "tags"]
    assert ["banner", "KILLED", "off", "on,", "off", "-", "-"] in lines
    assert ["old", "ARCHIVED", "off", "on,", "off", "-", "-"] in lines
    assert ["shop", "ENABLED", "stable", "canary,", "stable", "ann", "web,", "checkout"] in lines


@pytest.mark.parametrize(
    ("filters", "keys"),
    [
        (["--tag", "web"], ["shop"]),
        (["--owner", "ann"], ["shop"]),
        (["--search", "christmas"], ["old"]),
        (["--archived"], ["old"]),
        (["--not-archived", "--state", "ENABLED"], ["banner", "late", "shop"]),
    ],
)
def test_flags_are_listed_by_what_they_are(url: str, filters: list[str], keys: list[str]) -> None:
    """The filters of the API; JSON has the definitions."""
    told = json.loads(run("flag", "list", *filters, "--format", "json", "--admin", url).stdout)
    assert [flag["key"] for flag in told["flags"]] == keys


def test_both_names_of_the_group_work(url: str) -> None:
    """`flag` and `flags` are one."""
    assert run("flags", "list", "--admin", url).stdout == run("flag", "list", "--admin", url).stdout


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_a_flag_makes_the_round_trip(url: str, control: BookControl, tmp_path: Path, form: str) -> None:
    """get, edit, set: the version inside says what was seen."""
    text = run("flag", "get", "shop", "--format", form, "--admin", url).stdout
    document = parse_yaml(text)
    assert isinstance(document, dict)
    assert document == {"version": 1, "key": "shop", "killed": False, **SHOP}
    file = tmp_path / f"shop.{form}"
    file.write_text(json.dumps({**document, "targeting": WEIGHED}))
    result = run("flag", "set", "shop", str(file), "--yes", "--reason", "grow", "--admin", url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "shop is set (rules version 2, 2 of 2 workers follow it)\n"
    assert control.flags["shop"] == {**SHOP, "targeting": WEIGHED}
    assert control.book.current().reason == "grow"


def test_a_flag_is_made(url: str, control: BookControl) -> None:
    """One that is not there needs no version."""
    flag = {"variants": {"on": True, "off": False}, "defaultVariant": "off"}
    result = run("flag", "set", "fresh", "-", "--yes", "--admin", url, input=json.dumps(flag))
    assert (result.exit_code, result.stderr) == (0, "")
    assert control.flags["fresh"] == flag


def test_default_and_state_are_changed_alone(url: str, control: BookControl) -> None:
    """Shortcuts for what is changed most."""
    result = run("flag", "set", "banner", "--default", "on", "--state", "DISABLED", "--yes", "--admin", url)
    assert result.exit_code == 0
    assert control.flags["banner"]["defaultVariant"] == "on"
    assert control.flags["banner"]["state"] == "DISABLED"
    assert control.flags["banner"]["targeting"] == {"if": [{"$ref": "staff"}, "on"]}


def test_weights_show_who_moves_and_ask(url: str, control: BookControl, attended: None) -> None:
    """Whoever says yes has seen the shares; nobody leaves the canary when it grows."""
    result = run("flag", "weights", "shop", "canary=20", "stable=80", "--admin", url, input="y\n")
    assert result.exit_code == 0
    assert "/targeting/fractional" in result.stdout
    assert "shop: 1," in result.stdout
    assert "would move" in result.stdout
    moves = [line.split()[:2] for line in result.stdout.splitlines() if line.startswith("  stable")]
    assert moves == [["stable", "canary"]]
    assert "shop has canary=20, stable=80 (rules version 2" in result.stdout
    assert control.flags["shop"]["targeting"] == WEIGHED


def test_a_no_changes_nothing(url: str, control: BookControl, attended: None) -> None:
    """And the exit code says so."""
    result = run("flag", "weights", "shop", "canary=20", "stable=80", "--admin", url, input="n\n")
    assert result.exit_code == 1
    assert "error: nothing was changed\n" in result.stderr
    assert control.flags["shop"] == SHOP


def test_nobody_there_changes_nothing(url: str, control: BookControl) -> None:
    """A script says --yes."""
    result = run("flag", "weights", "shop", "canary=20", "stable=80", "--admin", url)
    assert result.exit_code == 64
    assert "there is nobody to ask\n  --yes goes on" in result.stderr
    assert control.flags["shop"] == SHOP


def test_a_dry_run_changes_nothing(url: str, control: BookControl) -> None:
    """As JSON it is the API's answer."""
    arguments = ["flag", "weights", "shop", "canary=20", "stable=80", "--dry-run", "--format", "json"]
    result = run(*arguments, "--admin", url)
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert (told["dry_run"], told["moves"][0]["flag"]) == (True, "shop")
    assert control.flags["shop"] == SHOP


def test_what_changes_nothing_is_said(url: str, control: BookControl) -> None:
    """The same weights again ask nobody."""
    result = run("flag", "weights", "shop", "canary=5", "stable=95", "--admin", url)
    assert result.exit_code == 0
    assert result.stdout.startswith("nothing would change\n")
    assert control.book.version == 1


def test_json_has_no_place_for_a_question(url: str) -> None:
    """--yes or --dry-run."""
    result = run("flag", "weights", "shop", "canary=1", "stable=9", "--format", "json", "--admin", url)
    assert result.exit_code == 64


def test_somebody_was_quicker(url: str, control: BookControl, tmp_path: Path) -> None:
    """What they changed is shown; nothing is overwritten."""
    file = tmp_path / "shop.yaml"
    file.write_text(run("flag", "get", "shop", "--admin", url).stdout)
    assert run("flag", "set", "banner", "--default", "on", "--yes", "--admin", url).exit_code == 0
    result = run("flag", "set", "shop", str(file), "--yes", "--admin", url)
    assert result.exit_code == 1
    assert "nothing was changed" in result.stderr
    assert "since version 1:" in result.stderr
    assert '/flags/banner/defaultVariant\n    - "off"\n    + "on"' in result.stderr
    assert control.book.version == 2


def test_somebody_made_it_first(url: str, control: BookControl) -> None:
    """A flag that was new when it was looked for is not overwritten."""
    control.rival = {**DOCUMENT, "flags": {**DOCUMENT["flags"], "fresh": NEW}}
    flag = json.dumps({**NEW, "defaultVariant": "on"})
    result = run("flag", "set", "fresh", "-", "--yes", "--admin", url, input=flag)
    assert result.exit_code == 1
    assert "error: it is there already; nothing was changed\n" in result.stderr
    assert control.flags["fresh"] == NEW


def test_a_mistake_is_told_by_its_place(url: str, control: BookControl) -> None:
    """The server's own gate, before anything is stored."""
    flag = write_yaml({**SHOP, "defaultVariant": "stabel"})
    result = run("flag", "set", "shop", "-", "--yes", "--admin", url, input=flag)
    assert result.exit_code == 1
    assert "flags.shop.defaultVariant: there is no variant 'stabel'" in result.stderr
    assert control.book.version == 1


@pytest.mark.parametrize("weights", [["canary"], ["canary=x"], ["=5"], ["canary=-1"], ["a=1", "a=2"]])
def test_weights_are_whole_numbers(weights: list[str]) -> None:
    """What can be seen here is told here."""
    result = run("flag", "weights", "shop", *weights, "--admin", "http://127.0.0.1:1")
    assert result.exit_code == 64


def test_set_needs_something_to_set() -> None:
    """Neither nothing, nor two things."""
    assert run("flag", "set", "shop", "--admin", "http://127.0.0.1:1").exit_code == 64
    both = run("flag", "set", "shop", "-", "--default", "on", "--admin", "http://127.0.0.1:1")
    assert both.exit_code == 64


def test_a_flag_has_a_history_and_goes_back(url: str, control: BookControl) -> None:
    """Who, when, why and what; restoring one leaves the others alone."""
    for words in (
        ["flag", "weights", "shop", "canary=20", "stable=80"],
        ["flag", "set", "banner", "--default", "on"],
    ):
        assert run(*words, "--yes", "--reason", "grow", "--admin", url).exit_code == 0
    told = run("flag", "history", "shop", "--admin", url).stdout
    assert "     2  " in told
    assert "grow" in told
    assert '+ [["canary", 20], ["stable", 80]]' in told
    assert "     3  " not in told
    result = run("flag", "restore", "shop", "1", "--yes", "--admin", url)
    assert result.stdout == "shop is as in version 1 again (rules version 4, 2 of 2 workers follow it)\n"
    assert control.flags["shop"] == SHOP
    assert control.flags["banner"]["defaultVariant"] == "on"
    assert (
        json.loads(run("flag", "history", "shop", "--format", "json", "--admin", url).stdout)["flag"]
        == "shop"
    )


def test_kill_and_revive_are_here_too(url: str, control: BookControl) -> None:
    """The same commands by another way."""
    assert run("flag", "kill", "shop", "--admin", url).exit_code == 0
    assert control.book.current().document["killed"] == ["shop"]
    assert run("flag", "revive", "shop", "--admin", url).exit_code == 0
    assert control.book.current().document["killed"] == []


def test_an_unknown_flag_is_told(url: str) -> None:
    """With those that exist."""
    result = run("flag", "get", "shpo", "--admin", url)
    assert result.exit_code == 1
    assert result.stderr == "error: there is no flag 'shpo'\n  there are shop, banner, late, old\n"


def test_nobody_answers() -> None:
    """Another exit code than a no."""
    assert run("flag", "list", "--admin", "http://127.0.0.1:1").exit_code == 3


def test_flags_go_out_and_come_back(url: str, control: BookControl, tmp_path: Path) -> None:
    """Exporting and importing again changes nothing, however it is written."""
    for name in ("flags.json", "flags.yaml"):
        file = tmp_path / name
        result = run("flags", "export", "--format", "flagd", "-o", str(file), "--admin", url)
        assert result.exit_code == 0
        assert "warning: flags.late: asks another flag" in result.stderr
        for mode in ([], ["--merge"], ["--replace"]):
            told = run("flags", "import", str(file), *mode, "--admin", url)
            assert (told.exit_code, told.stderr) == (0, "")
            assert told.stdout.endswith("unchanged: 4 (shop, banner, late, old)\nnothing would change\n")
    assert control.book.version == 1


def test_a_file_is_exported_without_a_server(tmp_path: Path) -> None:
    """A rules document, or the flags of a configuration."""
    file = tmp_path / "rules.yaml"
    file.write_text(write_yaml(DOCUMENT))
    told = json.loads(run("flags", "export", "-c", str(file)).stdout)
    assert told["flags"] == DOCUMENT["flags"]
    assert told["$evaluators"] == DOCUMENT["$evaluators"]
    assert "routes" not in told


def _imported(tmp_path: Path, document: Any) -> str:
    file = tmp_path / "import.json"
    file.write_text(json.dumps(document))
    return str(file)


NEW = {"variants": {"on": True, "off": False}, "defaultVariant": "off"}


def test_flags_are_imported(url: str, control: BookControl, tmp_path: Path, attended: None) -> None:
    """After showing what comes and what changes."""
    file = _imported(tmp_path, {"flags": {"new": NEW, "shop": {**SHOP, "targeting": WEIGHED}}})
    result = run("flags", "import", file, "--merge", "--admin", url, input="y\n")
    assert result.exit_code == 0
    assert result.stdout.startswith(
        "added: 1 (new)\nreplaced: 1 (shop)\nremoved: 0\nunchanged: 0\n/flags/shop"
    )
    assert "shop: 1," in result.stdout
    assert control.flags["new"] == NEW
    assert control.flags["shop"]["targeting"] == WEIGHED
    assert control.flags["banner"] == DOCUMENT["flags"]["banner"]
    assert control.book.current().reason == "import import.json"


def test_only_new_flags_are_asked_for_too(url: str, control: BookControl, tmp_path: Path) -> None:
    """Nobody there, nothing done."""
    file = _imported(tmp_path, {"flags": {"new": NEW}})
    result = run("flags", "import", file, "--admin", url)
    assert result.exit_code == 64
    assert "nothing would change" not in result.stdout
    assert run("flags", "import", file, "--yes", "--admin", url).exit_code == 0
    assert control.flags["new"] == NEW


def test_a_conflict_is_named(url: str, control: BookControl, tmp_path: Path) -> None:
    """And not decided by the order of things."""
    file = _imported(tmp_path, {"flags": {"new": NEW, "banner": NEW}})
    result = run("flags", "import", file, "--yes", "--admin", url)
    assert result.exit_code == 1
    assert "flags.banner: is there already, and says something else" in result.stderr
    assert control.book.version == 1


def test_what_the_server_refuses_stores_nothing(url: str, control: BookControl, tmp_path: Path) -> None:
    """A flag that a route consults cannot be imported away; a broken rule cannot come in."""
    file = _imported(tmp_path, {"flags": {"new": NEW}})
    result = run("flags", "import", file, "--replace", "--yes", "--admin", url)
    assert result.exit_code == 1
    assert "routes[0].flag" in result.stderr
    broken = _imported(tmp_path, {"flags": {"new": {**NEW, "targeting": {"iff": []}}, "other": NEW}})
    result = run("flags", "import", broken, "--yes", "--admin", url)
    assert "flags.new.targeting.iff: unknown operator" in result.stderr
    assert control.book.version == 1


UNLEASH = {
    "version": 1,
    "features": [
        {
            "name": "half",
            "enabled": True,
            "strategies": [
                {
                    "name": "flexibleRollout",
                    "parameters": {"rollout": "50", "stickiness": "userId", "groupId": "g"},
                }
            ],
        },
        {"name": "odd", "enabled": True, "strategies": [{"name": "mine"}]},
        {"name": "dark", "enabled": False, "strategies": [{"name": "default"}]},
    ],
}


def test_unleash_is_imported_with_open_eyes(url: str, control: BookControl, tmp_path: Path) -> None:
    """What has no equal, and whose units move, are two things to say yes to."""
    file = _imported(tmp_path, UNLEASH)
    refused = run("flags", "import", file, "--yes", "--admin", url)
    assert refused.exit_code == 1
    assert 'features[1].strategies[0].name: the strategy "mine" cannot be imported' in refused.stderr
    assert "not imported: odd; --skip-refused imports the others" in refused.stderr
    moving = run("flags", "import", file, "--skip-refused", "--yes", "--admin", url)
    assert moving.exit_code == 1
    assert "1 flag with percentages: the shares stay, but they fall on other units (half)" in moving.stderr
    assert control.book.version == 1
    done = run("flags", "import", file, "--skip-refused", "--accept-moved-units", "--yes", "--admin", url)
    assert done.exit_code == 0
    assert {"half", "dark"} < set(control.flags)
    assert control.book.current().document["killed"] == ["dark"]


def test_a_dry_run_of_an_import_needs_no_consent(url: str, control: BookControl, tmp_path: Path) -> None:
    """It shows everything at once, and stores nothing."""
    file = _imported(tmp_path, UNLEASH)
    result = run("flags", "import", file, "--skip-refused", "--dry-run", "--format", "json", "--admin", url)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["added"] == ["half", "dark"]
    assert control.book.version == 1


def test_growthbook_is_imported(url: str, control: BookControl) -> None:
    """From standard input too."""
    document = {"features": {"colour": {"defaultValue": "red", "rules": []}}}
    result = run("flags", "import", "-", "--yes", "--admin", url, input=json.dumps(document))
    assert result.exit_code == 0
    assert control.flags["colour"]["variants"] == {"red": "red"}


@pytest.mark.parametrize("option", ["--from-environment", "--unit"])
def test_flagd_has_no_such_things(option: str) -> None:
    """What would have no effect is refused."""
    result = run("flags", "import", "-", option, "x", "--admin", "http://127.0.0.1:1", input='{"flags": {}}')
    assert result.exit_code == 1
    assert f"{option} is for other products' files" in result.stderr


def test_two_modes_are_one_too_many() -> None:
    """--merge keeps what --replace removes."""
    result = run("flags", "import", "-", "--merge", "--replace", "--admin", "http://127.0.0.1:1", input="{}")
    assert result.exit_code == 64


@pytest.mark.parametrize("text", ["[]", "{}", '{"features": 3}', '{"flags": []}', "{"])
def test_another_file_is_refused(text: str) -> None:
    """Before anybody is asked anything."""
    result = run("flags", "import", "-", "--admin", "http://127.0.0.1:1", input=text)
    assert result.exit_code == 1
    assert "error: " in result.stderr


def test_stale_flags_are_listed(url: str, control: BookControl) -> None:
    """With why and what to do; what is not known is said, not guessed."""
    assert run("flag", "weights", "shop", "canary=100", "stable=0", "--yes", "--admin", url).exit_code == 0
    result = run("flags", "stale", "--admin", url)
    assert result.exit_code == 0
    assert "old\n  archived for 30 days\n    delete it: DELETE /api/v1/flags/old\n" in result.stdout
    assert "shop  (ann)\n  everybody has had canary for 30 days\n" in result.stdout
    assert result.stderr.startswith("warning: usage unknown: ")
    told = json.loads(run("flags", "stale", "--days", "7", "--format", "json", "--admin", url).stdout)
    assert told["days"] == 7
    assert list(told["unknown"]) == ["usage"]
    assert {one["flag"]: [reason["kind"] for reason in one["reasons"]] for one in told["flags"]} == {
        "old": ["archived"],
        "shop": ["settled"],
    }
