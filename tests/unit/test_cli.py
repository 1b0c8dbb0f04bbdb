"""The command line: exit codes, plain words, no tracebacks."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from understudy import __version__
from understudy.cli import app
from understudy.config import Settings
from understudy.errors import ListenError

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE = str(EXAMPLES / "understudy.yaml")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests does not matter."""
    for name in [name for name in os.environ if name.startswith("UNDERSTUDY_")]:
        monkeypatch.delenv(name)


def run(*arguments: str, **more: Any) -> Any:
    """The result of ``understudy`` with *arguments*."""
    result = CliRunner().invoke(app, list(arguments), **more)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_version() -> None:
    """--version says which."""
    assert run("--version").stdout == f"understudy {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["chek"], "No such command 'chek'"),
        (["check"], "Missing option '-c'"),
        (["check", "--cnfig", "x"], "No such option: --cnfig"),
        (["kill"], "Missing argument 'FLAG'"),
        (["report", "--format", "pdf"], "'pdf' is not one of"),
        (["demo", "--requests", "0"], "Invalid value for '--requests'"),
        (["explain", "-c", EXAMPLE, "--path", "x"], "--path 'x' does not start with /"),
        (
            ["explain", "-c", EXAMPLE, "--path", "/é"],
            "'/é' is not as it stands in a request\n  did you mean /%C3%A9?",
        ),
        (["explain", "-c", EXAMPLE, "--path", "/a b?c=d%20#e"], "did you mean /a%20b?c=d%20?"),
        (["explain", "-c", EXAMPLE, "--path", "/\udcff"], "did you mean /%FF?"),
        (["explain", "-c", EXAMPLE, "--header", "uid"], "--header 'uid' is not a field"),
        (["explain", "-c", EXAMPLE, "--header", "a: b\nc: d"], "is not a field"),
        (["report", "--admin", "ftp://x"], "--admin 'ftp://x' is no http URL"),
        (["report", "--admin", "http://"], "--admin 'http://' is no http URL"),
        (["report", "--admin", "http://a:x"], "--admin 'http://a:x'"),
        (["rules", "put", EXAMPLE, "--if-match", "x"], "is a whole configuration"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], error: str) -> None:
    """What is wrong, where help is, and an exit code that is no verdict."""
    result = run(*arguments)
    assert error in result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) <= 2
    assert result.exit_code == (1 if "whole" in error else 64)


def test_no_arguments_show_what_there_is() -> None:
    """Help, on standard error, since nothing was done."""
    result = run()
    assert result.exit_code == 64
    for command in ("check", "schema", "explain", "serve", "kill", "revive", "rules", "report", "demo"):
        assert re.search(rf"^  {command} ", result.stderr, re.MULTILINE)


def test_check_retells_a_valid_file() -> None:
    """Exit 0 and what would happen, in lines that can be searched."""
    result = run("check", "-c", EXAMPLE)
    assert result.exit_code == 0
    assert result.stdout == (
        f"{EXAMPLE} is valid\n"
        "\n"
        "listen   127.0.0.1:8080 (1 worker)\n"
        "admin    http://127.0.0.1:9090 (open to every user of this machine until the first token is made)\n"
        f"store    sqlite:///{EXAMPLES.absolute()}/understudy.db\n"
        "service  shop-v1 → http://127.0.0.1:9001\n"
        "service  shop-v2 → http://127.0.0.1:9002\n"
        "shadow   10 % asked twice, 5s each, at most 64 in flight, 64MiB in all, 1MiB a body\n"
        "compare  1 rule\n"
        "\n"
        "route 0  /…  → flag shop by cookie:uid\n"
        "  variant  who                     serve    mirror   control\n"
        "  stable   75 % of units, default  shop-v1  -        -\n"
        "  canary   5 % of units, by rule   shop-v2  -        -\n"
        "  dark     20 % of units           shop-v1  shop-v2  shop-v1\n"
    )


def test_check_tells_every_problem(tmp_path: Path) -> None:
    """Exit 1; path and message, and below it what was probably meant."""
    file = tmp_path / "understudy.yaml"
    file.write_text(
        "services: {v1: {url: 'http://a'}}\nworkers: four\nroutes: [{path: /, serve: v2}]\nshadwo: {}\n"
    )
    result = run("check", "-c", str(file))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "error: shadwo: unknown key\n"
        "  did you mean shadow?\n"
        'error: workers: must be a whole number, not "four"\n'
        'error: routes[0].serve: unknown service "v2"\n'
        "  there is only v1\n"
        f"3 problems in {file}\n"
    )


def test_check_tells_problems_as_json(tmp_path: Path) -> None:
    """For editors and pipelines: the same, with its parts apart."""
    file = tmp_path / "understudy.yaml"
    file.write_text("services: {v1: {url: 'http://a'}}\nshadwo: {}\n")
    result = run("check", "-c", str(file), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "valid": False,
        "problems": [{"path": "shadwo", "message": "unknown key", "hint": "did you mean shadow?"}],
    }


def test_check_retells_as_json() -> None:
    """Everything that the summary says, as values."""
    told = json.loads(run("check", "-c", EXAMPLE, "--json").stdout)
    assert told["valid"] is True
    assert told["routes"][0]["variants"][1]["share"] == 0.05


def test_warnings_do_not_fail(tmp_path: Path) -> None:
    """A valid file is valid."""
    file = tmp_path / "understudy.yaml"
    file.write_text("services: {v1: {url: 'http://a'}}\nroutes: [{path: /api, serve: v1}]\n")
    result = run("check", "-c", str(file))
    assert result.exit_code == 0
    assert (
        "warning: no route matches every request; what matches none is answered with 404\n" in result.stdout
    )


@pytest.mark.parametrize("command", ["check", "explain", "serve"])
def test_a_missing_file_is_told(command: str, tmp_path: Path) -> None:
    """One line, whichever command reads it."""
    result = run(command, "-c", str(tmp_path / "none.yaml"))
    assert result.exit_code == 1
    assert f"error: {tmp_path}/none.yaml: there is no such file\n" in result.stderr


def test_a_file_cannot_steer_the_terminal(tmp_path: Path) -> None:
    """Control characters from a file are printed as escapes."""
    file = tmp_path / "understudy.yaml"
    file.write_text('services: {v1: {url: "http://a"}}\n"\\e[2Jx": 1\n')
    result = run("check", "-c", str(file))
    assert "\x1b" not in result.stderr
    assert "\\u001b[2Jx" in result.stderr


def test_the_configuration_can_come_from_a_variable() -> None:
    """UNDERSTUDY_CONFIG names the file."""
    assert run("check", env={"UNDERSTUDY_CONFIG": EXAMPLE}).exit_code == 0


def test_variables_override() -> None:
    """A variable is checked like the file, under its own name."""
    result = run("check", "-c", EXAMPLE, env={"UNDERSTUDY_WORKERS": "many"})
    assert result.exit_code == 1
    assert 'error: UNDERSTUDY_WORKERS: must be a whole number, not "many"\n' in result.stderr


def test_schema_is_json() -> None:
    """`understudy schema > understudy.schema.json` is all an editor needs."""
    assert json.loads(run("schema").stdout)["title"] == "Understudy configuration"


def test_explain_tells_why() -> None:
    """Flag, unit, variant, rule, bucket, serve and mirror of one request."""
    result = run("explain", "-c", EXAMPLE, "--path", "/x?a=1", "--header", "Cookie: uid=7")
    assert result.exit_code == 0
    assert result.stdout == (
        "route    /\n"
        "flag     shop\n"
        "unit     7\n"
        "variant  dark\n"
        "reason   TARGETING_MATCH\n"
        "rule     if[2] otherwise → fractional canary 5, dark 20, stable 75 → dark\n"
        "key      shop7\n"
        "hash     785531499 (murmur3)\n"
        "bucket   18 of 100\n"
        "serve    shop-v1\n"
        "mirror   shop-v2\n"
        "control  shop-v1\n"
        "safe     stable\n"
    )


def test_explain_takes_repeated_fields() -> None:
    """Each --header is one field."""
    result = run(
        "explain", "-c", EXAMPLE, "--json", "-H", "Cookie: uid=7", "-H", "X-User-Email: a@example.com"
    )
    told = json.loads(result.stdout)
    assert (told["variant"], told["serve"], told["reason"]) == ("canary", "shop-v2", "TARGETING_MATCH")


@pytest.mark.parametrize(
    ("arguments", "route"),
    [
        (["--path", "/orders/7", "--method", "post"], "orders"),
        (["--host", "ADMIN.example.com:80"], "admin"),
        (["-H", "Host: admin.example.com"], "admin"),
        (["--path", "/by-query?uid=9"], "query"),
        (["--path", "/by-ip", "--ip", "10.0.0.7"], "ip"),
    ],
)
def test_explain_finds_the_route(arguments: list[str], route: str, tmp_path: Path) -> None:
    """Method, host, query and address of the client arrive where routes and units look."""
    file = tmp_path / "understudy.yaml"
    file.write_text(
        "services: {v1: {url: 'http://a'}}\n"
        "flags:\n"
        "  f: {variants: {a: {serve: v1}}, defaultVariant: a, targeting: {if: [{var: targetingKey}, a]}}\n"
        "routes:\n"
        "  - {name: orders, template: '/orders/{id}', methods: [POST], serve: v1}\n"
        "  - {name: admin, host: admin.example.com, serve: v1}\n"
        "  - {name: query, path: /by-query, flag: f, unit: 'query:uid'}\n"
        "  - {name: ip, path: /by-ip, flag: f, unit: ip}\n"
    )
    told = json.loads(run("explain", "-c", str(file), "--json", *arguments).stdout)
    assert told["route"] == route
    assert told["unit"] == {"query": "9", "ip": "10.0.0.7"}.get(route, "")


@pytest.mark.parametrize(("typed", "unit"), [("é", "é"), ("Ã©", "Ã©"), ("日本", "日本"), ("\udce9", "é")])
def test_explain_sends_what_was_typed(typed: str, unit: str) -> None:
    """A field is the bytes that the shell handed over, as with curl, so the unit is what the proxy sees."""
    told = json.loads(run("explain", "-c", EXAMPLE, "--json", "-H", f"Cookie: uid={typed}").stdout)
    assert told["unit"] == unit


def test_explain_says_when_no_route_matches(tmp_path: Path) -> None:
    """The answer would be a 404."""
    file = tmp_path / "understudy.yaml"
    file.write_text("services: {v1: {url: 'http://a'}}\nroutes: [{path: /api, serve: v1}]\n")
    result = run("explain", "-c", str(file), "--path", "/other")
    assert result.stdout == "route  none matches; the answer is 404\n"


def test_serve_hands_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings and the file go to the application; its status is ours."""
    seen: list[tuple[Settings, Path]] = []

    def serve(settings: Settings, *, config_path: Path) -> int:
        seen.append((settings, config_path))
        return 7

    monkeypatch.setattr("understudy.app.serve", serve)
    assert run("serve", "-c", EXAMPLE).exit_code == 7
    assert seen[0][0].listen == ("127.0.0.1:8080",)
    assert seen[0][1] == Path(EXAMPLE)


def test_an_address_in_use_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Foreseen errors of any layer come out as text."""

    def serve(_: Settings, *, config_path: Path) -> int:
        raise ListenError("127.0.0.1:8080: address in use")

    monkeypatch.setattr("understudy.app.serve", serve)
    result = run("serve", "-c", EXAMPLE)
    assert result.exit_code == 1
    assert result.stderr == "error: 127.0.0.1:8080: address in use\n"


def test_demo_hands_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Options arrive; the status is ours."""
    seen: list[dict[str, Any]] = []

    def demo(**options: Any) -> int:
        seen.append(options)
        return 0

    monkeypatch.setattr("understudy.demo.run", demo)
    result = run("demo", "--once", "--requests", "9", "--folder", str(tmp_path), "--seed", "3")
    assert result.exit_code == 0
    assert seen == [{"once": True, "requests": 9, "folder": tmp_path, "seed": 3}]


def test_interrupting_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends with 130 and without a traceback."""

    def serve(_: Settings, *, config_path: Path) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("understudy.app.serve", serve)
    result = run("serve", "-c", EXAMPLE)
    assert result.exit_code == 130
    assert "Traceback" not in result.stderr


def _understudy(*arguments: str, stdout: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "understudy", *arguments]
    return subprocess.run(command, text=True, stdout=stdout, stderr=subprocess.PIPE, check=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "-c", EXAMPLE], "service  shop-v1 -> http://127.0.0.1:9001"),
        (["explain", "-c", EXAMPLE, "-H", "Cookie: uid=é"], "unit     \\xe9"),
    ],
)
def test_a_terminal_without_unicode(arguments: list[str], words: str) -> None:
    """What an encoding lacks is written in ASCII; no command dies of it."""
    result = CliRunner(charset="ascii").invoke(app, arguments)
    assert (result.exit_code, result.exception) == (0, None)
    assert words in result.stdout


@pytest.mark.parametrize("arguments", [["check", "-c", EXAMPLE], ["schema"], ["--version"]])
def test_a_closed_output_is_no_error(arguments: list[str]) -> None:
    """`understudy check … >&-` is asked for its exit code alone."""
    command = 'exec "$0" -m understudy "$@" >&-'
    result = subprocess.run(
        ["sh", "-c", command, sys.executable, *arguments], text=True, stderr=subprocess.PIPE, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(("value", "is_plain"), [("1", True), ("", False)])
def test_no_colour_when_asked(value: str, is_plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR holds for errors too, on a terminal that has colours."""
    monkeypatch.setenv("NO_COLOR", value)
    result = run("explain", "-c", EXAMPLE, "--path", "x", color=True)
    assert ("\x1b" not in result.stderr) is is_plain


def test_a_reader_who_left_is_no_error() -> None:
    """`understudy schema | head -1` is quiet, and not mistaken for a verdict."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as nobody:
        result = _understudy("schema", stdout=nobody)
    assert (result.returncode, result.stderr) == (141, "")


def test_a_full_disk_is_one_line() -> None:
    """An output that cannot be written is told, and does not end like a regression."""
    with Path("/dev/full").open("wb") as full:
        result = _understudy("schema", stdout=full)
    assert (result.returncode, result.stderr) == (73, "error: No space left on device\n")


@pytest.mark.parametrize(
    ("arguments", "banned"),
    [
        (["--version"], ["rich", "yaml", "httpx", "understudy.config", "sqlalchemy", "uvloop"]),
        (
            ["check", "-c", EXAMPLE],
            ["httpx", "sqlalchemy", "uvloop", "starlette", "understudy.app", "deepdiff"],
        ),
    ],
)
def test_commands_load_only_what_they_need(arguments: list[str], banned: list[str]) -> None:
    """Starting fast is a matter of what is imported."""
    code = (
        "import sys\nfrom understudy.cli import app\n"
        f"try: app({arguments!r})\n"
        "except SystemExit: pass\n"
        f"print([name for name in {banned!r} if name in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True
    )
    assert result.stderr == "[]\n"
