"""The commands that speak to the admin API, against the real admin server on a real socket."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cli_world import DOCUMENT, Plane, forget_variables, run, served
from store_servers import free_port
from typer.testing import CliRunner

from understudy.admin import Reload, create_admin
from understudy.cli import app
from understudy.config import parse_yaml
from understudy.errors import ConfigError, Problem, StoreError
from understudy.store import Sample


@pytest.fixture
def plane() -> Plane:
    """What the admin server shows and changes."""
    return Plane()


@pytest.fixture
def url(plane: Plane) -> Iterator[str]:
    """The address of a running admin server."""
    with served(create_admin(plane)) as url:
        yield url


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_variables(monkeypatch)


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_rules_are_printed_with_their_version(url: str, form: str) -> None:
    """In both formats the document is whole, and says which version it is."""
    result = run("rules", "get", "--admin", url, "--format", form)
    assert result.exit_code == 0
    assert parse_yaml(result.stdout) == {"version": 7, **DOCUMENT}


def test_rules_make_the_round_trip(url: str, plane: Plane, tmp_path: Path) -> None:
    """get, edit, put: the version inside says what is replaced."""
    file = tmp_path / "rules.yaml"
    file.write_text(run("rules", "get", "--admin", url).stdout.replace("killed: []", "killed: [shop]"))
    result = run("rules", "put", str(file), "--admin", url, "--reason", "a drill")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "the rules are replaced (rules version 8, 2 of 2 workers follow it)\n"
    assert plane.current.document == {**DOCUMENT, "killed": ["shop"]}
    assert plane.current.reason == "a drill"


@pytest.mark.parametrize("if_match", ["7", '"7"', "*"])
def test_rules_are_put_from_json(url: str, plane: Plane, tmp_path: Path, if_match: str) -> None:
    """The version can be named, and '*' replaces any."""
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(DOCUMENT))
    assert run("rules", "put", str(file), "--admin", url, "--if-match", if_match).exit_code == 0
    assert plane.current.version == 8


def test_rules_are_put_from_standard_input(url: str, plane: Plane) -> None:
    """- reads what another program writes."""
    assert run("rules", "put", "-", "--admin", url, input="version: 7\nflags: {}\n").exit_code == 0
    assert plane.current.document == {"flags": {}, "routes": [], "compare": [], "killed": []}


def test_a_switch_that_a_new_document_undoes_is_told(url: str, plane: Plane) -> None:
    """A document written before the kill brings the flag back; nobody should learn it from the users."""
    assert run("kill", "shop", "--admin", url).exit_code == 0
    document = json.dumps({**DOCUMENT, "killed": []})
    result = run("rules", "put", "-", "--if-match", "*", "--admin", url, input=document)
    assert result.exit_code == 0
    assert "warning: shop was killed and follows its rules again\n  `understudy kill shop`" in result.stderr


def test_a_switch_that_stays_is_not_told(url: str, plane: Plane) -> None:
    """What the document keeps killed, or has no more, needs no warning."""
    assert run("kill", "shop", "--admin", url).exit_code == 0
    document = json.dumps({**DOCUMENT, "killed": ["shop"]})
    assert run("rules", "put", "-", "--if-match", "*", "--admin", url, input=document).stderr == ""


def test_a_document_without_routes_is_told(url: str, plane: Plane) -> None:
    """`rules put` of half a document is allowed, and its effect is said."""
    result = run("rules", "put", "-", "--if-match", "*", "--admin", url, input="flags: {}\n")
    assert result.exit_code == 0
    assert result.stderr == "warning: there is no route any more: every request is answered with 404\n"


def test_compare_rules_alone_are_not_put(url: str, plane: Plane) -> None:
    """What `rules suggest` prints is a part: put as a whole, it would take every route away."""
    result = run("rules", "put", "-", "--if-match", "*", "--admin", url, input="compare: []\n")
    assert result.exit_code == 1
    assert "error: - has compare rules alone; every flag and route would be gone\n  put its" in result.stderr
    assert plane.current.version == 7


def test_rules_without_a_version_are_not_put(url: str, plane: Plane) -> None:
    """Nobody overwrites what he has not seen by accident."""
    result = run("rules", "put", "-", "--admin", url, input="flags: {}\n")
    assert result.exit_code == 64
    assert "error: which version does this replace?\n" in result.stderr
    assert plane.current.version == 7


@pytest.mark.parametrize("version", ["x", "-1", "true", "7.5", "[]"])
def test_a_version_is_a_number(url: str, version: str) -> None:
    """Whatever else stands there is a mistake."""
    result = run("rules", "put", "-", "--admin", url, input=f"version: {version}\nflags: {{}}\n")
    assert result.exit_code == 64
    assert "is not a version" in result.stderr


def test_a_lost_race_is_told(url: str, plane: Plane) -> None:
    """The document has moved on; nothing was changed."""
    result = run("rules", "put", "-", "--admin", url, input="version: 6\nflags: {}\n")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: rules document: expected version 6, but it is at 7\n"
        "  somebody changed the rules since: get them again, or replace any with --if-match '*'\n"
    )
    assert plane.current.version == 7


def test_refused_rules_are_told_as_check_does(url: str, plane: Plane) -> None:
    """Every problem with its path and hint, from the server's own gate."""
    changed = {**DOCUMENT, "routes": [{"path": "/", "flag": "shpo"}], "killed": ["x"], "version": 7}
    result = run("rules", "put", "-", "--admin", url, input=json.dumps(changed))
    assert result.exit_code == 1
    assert 'error: routes[0].flag: unknown flag "shpo"\n  did you mean shop?\n' in result.stderr
    assert 'error: killed[0]: unknown flag "x"\n' in result.stderr
    assert plane.current.version == 7


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("flags: [", "broken YAML at line 1, column 9"),
        ("flags: {}\nflags: {}\n", "duplicate key on line 2, first on line 1"),
        ("- 1\n", "a rules document is a mapping with flags and routes"),
        ("services: {}\n", "is a whole configuration, not a rules document"),
        ("", "standard input: is empty"),
        (b"flags: \xff", "standard input: is not UTF-8 text, at byte 7"),
    ],
)
def test_a_broken_document_is_not_sent(text: str | bytes, error: str) -> None:
    """What can be seen here is told here, without asking anyone."""
    result = run("rules", "put", "-", "--admin", "http://127.0.0.1:1", input=text)
    assert result.exit_code == 1
    assert error in result.stderr


def test_a_flag_is_killed_and_revived(url: str, plane: Plane) -> None:
    """The kill switch by hand, with its reason for the history."""
    result = run("kill", "shop", "--admin", url, "--reason", "it burns")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "shop is killed: every request gets its safe variant (rules version 8, 2 of 2 workers follow it)\n"
    )
    assert (plane.current.document["killed"], plane.current.reason) == (["shop"], "it burns")
    assert run("revive", "shop", "--admin", url).stdout == (
        "shop follows its rules again (rules version 9, 2 of 2 workers follow it)\n"
    )
    assert plane.current.document["killed"] == []


def test_workers_that_lag_are_told(url: str, plane: Plane) -> None:
    """Stored, but not yet everywhere: whoever pulls the switch must know."""
    plane.applied = 1
    result = run("kill", "shop", "--admin", url)
    assert result.exit_code == 0
    assert "1 of 2 workers follow it" in result.stdout
    assert "warning: it is stored, but not every worker has acknowledged it yet\n" in result.stderr


def test_an_unknown_flag_is_told(url: str) -> None:
    """With those that exist."""
    result = run("kill", "shpo", "--admin", url)
    assert result.exit_code == 1
    assert result.stderr == "error: there is no flag 'shpo'\n  there are shop\n"


def test_a_strange_flag_stays_one_segment(url: str) -> None:
    """A slash or a question mark in an argument does not lead elsewhere."""
    result = run("kill", "../rules?x=#y", "--admin", url)
    assert result.exit_code == 1
    assert result.stdout == ""


@pytest.mark.parametrize(("verdict", "code"), [("clean", 0), ("regression", 1), ("undecided", 2), ("?", 2)])
def test_the_verdict_is_the_exit_code(url: str, plane: Plane, verdict: str, code: int) -> None:
    """A pipeline needs nothing but the status."""
    plane.evidence["verdict"] = verdict
    result = run("report", "--admin", url, "--format", "json")
    assert result.exit_code == code
    assert json.loads(result.stdout)["verdict"] == verdict


@pytest.mark.parametrize(
    ("form", "start"), [("text", " REGRESSION "), ("json", '{\n  "verdict"'), ("html", "<!doctype html>")]
)
def test_the_report_is_written(url: str, form: str, start: str, tmp_path: Path) -> None:
    """To standard output, or the same to a file."""
    printed = run("report", "--admin", url, "--format", form)
    assert printed.stdout.lstrip("\n").lower().startswith(start.lower())
    file = tmp_path / "report"
    written = run("report", "--admin", url, "--format", form, "--output", str(file))
    assert written.stdout == ""
    assert (written.exit_code, printed.exit_code) == (1, 1)
    assert file.read_text().lstrip("\n").lower().startswith(start.lower())


def test_a_file_that_cannot_be_written_is_told(url: str, tmp_path: Path) -> None:
    """One line, with the name."""
    result = run("report", "--admin", url, "--output", str(tmp_path / "none" / "report.txt"))
    assert result.exit_code == 73
    assert result.stderr == f"error: {tmp_path}/none/report.txt: there is no folder {tmp_path}/none\n"


def test_a_store_that_is_away_is_told(url: str, plane: Plane) -> None:
    """The admin API answers, but cannot: that is no verdict."""
    plane.failure = StoreError("understudy.db: the file is locked")
    result = run("report", "--admin", url)
    assert (result.exit_code, result.stderr) == (3, "error: understudy.db: the file is locked\n")


@pytest.mark.parametrize(
    "arguments", [["report"], ["rules", "get"], ["kill", "shop"], ["rules", "put", "-", "--if-match", "*"]]
)
def test_an_admin_that_does_not_answer_is_told(arguments: list[str]) -> None:
    """One line, how to mend it, and an exit code that is no verdict; from a variable as from an option."""
    url = f"http://127.0.0.1:{free_port()}"
    result = run(*arguments, env={"UNDERSTUDY_ADMIN": url}, input="flags: {}")
    assert result.exit_code == 3
    more = "  on this host alone, and at once: `understudy kill --local -c CONFIG FLAG`\n"
    assert result.stderr == (
        f"error: no answer from {url}: [Errno 111] Connection refused\n"
        "  is `understudy serve` running? Another address: --admin URL, or UNDERSTUDY_ADMIN\n"
        f"{more if arguments[0] == 'kill' else ''}"
    )


class _Stranger(BaseHTTPRequestHandler):
    """A web server that is no admin API."""

    status = 200
    body = b"<h1>hello</h1>"

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        pass


@contextmanager
def _stranger(**answer: Any) -> Iterator[str]:
    handler = type("Stranger", (_Stranger,), answer)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(60)


@pytest.mark.parametrize("status", [200, 302, 404, 502])
def test_another_server_is_recognised(status: int) -> None:
    """A wrong port is a common slip: the answer of whoever sits there is not taken for ours."""
    with _stranger(status=status) as url:
        result = run("report", "--admin", url)
    assert result.exit_code == 3
    assert f"{url} is no admin API of Understudy" in result.stderr


@pytest.mark.parametrize("arguments", [["report"], ["kill", "shop"], ["revive", "shop"]])
def test_any_json_is_not_taken_for_ours(arguments: list[str]) -> None:
    """An application that answers every path with JSON has killed nothing, and has no verdict."""
    with _stranger(body=b"{}") as url:
        result = run(*arguments, "--admin", url)
    assert (result.exit_code, result.stdout) == (3, "")
    assert f"{url} is no admin API of Understudy: its answer names no " in result.stderr


@pytest.mark.parametrize("reason", ["two\nlines", "\x1b[2J", "\udcff"])
def test_a_reason_is_one_line(url: str, plane: Plane, reason: str) -> None:
    """The shell hands over any bytes; what the history cannot hold is told at once."""
    result = run("kill", "shop", "--reason", reason, "--admin", url)
    assert result.exit_code == 64
    assert "Invalid value for '--reason': must be one line of text" in result.stderr
    assert plane.current.version == 7


def test_a_flag_that_is_no_text_is_unknown(url: str) -> None:
    """Bytes of another encoding name no flag, and end in no traceback."""
    result = run("kill", "caf\udce9", "--admin", url)
    assert result.exit_code == 1
    assert "there is no flag" in result.stderr


def test_a_report_is_told_in_ascii(url: str, plane: Plane) -> None:
    """A terminal without Unicode gets the verdict too: 1 would read as a regression, not as a crash."""
    plane.evidence = {"verdict": "clean", "exchanges": 1, "generated_at": 1.0, "rules_version": 3}
    result = CliRunner(charset="ascii").invoke(app, ["report", "--admin", url])
    assert (result.exit_code, result.exception) == (0, None)
    assert "rules version 3 | 1970-01-01 00:00 UTC" in result.stdout


@pytest.mark.parametrize("form", ["html", "json"])
def test_documents_are_utf_8_everywhere(url: str, plane: Plane, form: str) -> None:
    """JSON and HTML say that they are UTF-8, so they are, whatever the terminal speaks."""
    plane.evidence = {"verdict": "clean", "exchanges": 1, "endpoints": [], "note": "café", "since": 1.0}
    result = CliRunner(charset="ascii").invoke(app, ["report", "--format", form, "--admin", url])
    assert (result.exit_code, result.exception) == (0, None)
    assert any(word in result.stdout_bytes.decode("utf-8") for word in ("café", "·", "→"))


def test_environment_proxies_are_not_asked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address says who is asked, whatever the shell has set for the web."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert run("rules", "get", "--admin", url).exit_code == 0


def test_reload_says_what_changed(url: str) -> None:
    """And how many workers follow."""
    result = run("reload", "--admin", url)
    assert result.exit_code == 0
    assert result.stdout == "reloaded: changed services, limits (2 of 2 workers follow it)\n"
    assert result.stderr == ""


def test_reload_names_what_waits_and_what_was_not_touched(url: str, plane: Plane) -> None:
    """As warnings, each with its mend; nothing may be taken for applied."""
    plane.reloaded = Reload(
        changed=(), waiting=("listen", "workers"), notes=("rules stay",), workers=2, applied=1
    )
    result = run("reload", "--admin", url)
    assert result.exit_code == 0
    assert result.stdout == "reloaded: changed nothing (1 of 2 workers follow it)\n"
    assert result.stderr == (
        "warning: listen, workers changed and wait for a restart\n"
        "  `systemctl restart`, or SIGUSR2 to the supervisor: docs/operations.md\n"
        "warning: rules stay\n"
        "  `understudy rules put` changes them\n"
        "warning: not every worker has acknowledged it yet\n"
    )


def test_reload_prints_every_mistake(url: str, plane: Plane) -> None:
    """As `check` does; exit 1, because nothing was changed."""
    plane.failure = ConfigError((Problem(path="listn", message="unknown key", hint="did you mean listen?"),))
    result = run("reload", "--admin", url)
    assert result.exit_code == 1
    assert result.stderr == "error: listn: unknown key\n  did you mean listen?\n1 problem\n"


def test_restart_begins(url: str) -> None:
    """It does not wait for the end, and says so."""
    result = run("restart", "--admin", url)
    assert result.exit_code == 0
    assert result.stdout == "a rolling restart of 2 workers has begun\n"


@pytest.mark.parametrize("command", ["reload", "restart"])
def test_without_an_admin_api_nothing_is_reloaded(command: str) -> None:
    """Exit 3, as for every command that speaks to it."""
    assert run(command, "--admin", "http://127.0.0.1:1").exit_code == 3


def test_rules_are_suggested_by_the_server(url: str, plane: Plane) -> None:
    """From the evidence it has; regressions only when asked for."""
    samples = [{"primary": "red", "shadow": "blue"}]
    finding = {
        "path": "/body/a",
        "kind": "value",
        "verdict": "regression",
        "differing": 7,
        "samples": samples,
    }
    plane.evidence["endpoints"] = [{"endpoint": "GET /x", "findings": [finding]}]
    assert "REGRESSION  GET /x  /body/a" in run("rules", "suggest", "--admin", url).stdout
    result = run("rules", "suggest", "--admin", url, "--include-regressions", "--format", "yaml")
    assert (result.exit_code, parse_yaml(result.stdout)) == (
        0,
        {"compare": [{"endpoint": "GET /x", "matching": {"/body/a": "(?s).*"}}]},
    )


SAMPLE = Sample(
    service="v2",
    endpoint="GET /orders/{id}",
    path="/body/price",
    kind="value",
    priority=0.5,
    at=1_800_000_000.0,
    name="0123456789abcdef",
    body={
        "at": "/body/price",
        "request": "GET /orders/7",
        "flag": "shop",
        "seen": 1.0,
        "curl": "curl 'http://v1'",
    },
    whole={
        "primary": {"status": 200, "headers": [["X-A", "1"]], "body": {"price": 1, "note": "\x1b[31m"}},
        "shadow": {"status": 200, "headers": [["X-A", "1"]], "body": {"price": 2, "note": "\x1b[31m"}},
    },
)


def test_a_sample_is_shown(url: str, plane: Plane) -> None:
    """Both answers, where they differ, the command that asks again; no content steers the terminal."""
    plane.samples[SAMPLE.name] = SAMPLE
    shown = run("samples", "show", SAMPLE.name, "--admin", url)
    assert shown.exit_code == 0
    for part in ("GET /orders/{id}", "X-A: 1", "  /body/price  value  1 → 2", "curl 'http://v1'"):
        assert part in shown.stdout
    assert "\x1b" not in shown.stdout
    told = json.loads(run("samples", "show", SAMPLE.name, "--admin", url, "--json").stdout)
    assert told["explanation"] == [{"path": "/body/price", "change": "value", "primary": 1, "shadow": 2}]


@pytest.mark.parametrize("name", ["0123456789abcdef", "nothing", "a/b", "%2e%2e", ""])
def test_a_sample_that_is_not_there_is_told(url: str, name: str) -> None:
    """Exit 1, in words."""
    shown = run("samples", "show", name, "--admin", url)
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert "there is no" in shown.stderr or "nothing at this path" in shown.stderr or "method" in shown.stderr


def test_samples_are_forgotten_by_unit(url: str) -> None:
    """One unit's, or all; never all by leaving the unit out."""
    assert run("samples", "purge", "--unit", "alice", "--admin", url).stdout == "2 samples are forgotten\n"
    assert run("samples", "purge", "--unit", "bob", "--admin", url).stdout == "1 sample is forgotten\n"
    assert run("samples", "purge", "--all", "--admin", url).stdout == "5 samples are forgotten\n"
    for wrong in ([], ["--unit", ""], ["--unit", "alice", "--all"]):
        refused = run("samples", "purge", *wrong, "--admin", url)
        assert (refused.exit_code, refused.stdout) == (64, "")
