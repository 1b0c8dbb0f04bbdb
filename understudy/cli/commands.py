"""The commands. Each imports what it needs when it runs, so that every one of them starts fast."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.admin_options import DEFAULT_ADMIN, Admin, ApiToken, InEnvironment, rules_path
from understudy.cli.frame import CommandError, Commands, ExitCode, complain, end
from understudy.cli.process_commands import reload, restart
from understudy.cli.record_command import record
from understudy.cli.replay_command import replay
from understudy.cli.report_options import ReportFailOn, ReportFiles, ReportForm

if TYPE_CHECKING:
    from understudy.cli.remote import AdminApi

app = typer.Typer(
    cls=Commands,
    help="Let a new backend rehearse on live traffic before it meets users.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)
rules_app = typer.Typer(
    help="Read or replace the rules document.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(rules_app, name="rules")

ConfigFile = Annotated[
    Path,
    typer.Option("-c", "--config", metavar="FILE", envvar="UNDERSTUDY_CONFIG", help="The configuration."),
]
Flags = Annotated[list[str], typer.Argument(metavar="FLAG", help="Keys of flags.", show_default=False)]
Local = Annotated[
    bool,
    typer.Option(
        "--local", help="In the kill file of this host: nobody is asked; FLAG '*' is every flag that routes."
    ),
]
LocalConfig = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        envvar="UNDERSTUDY_CONFIG",
        help="With --local: the configuration whose kill_file it is.",
    ),
]
LocalFile = Annotated[
    Path | None, typer.Option("--kill-file", metavar="FILE", help="As --local, in this very file.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _text(value: str) -> str:
    """*value* as it was typed, if it can be sent: the shell hands over any bytes."""
    if not value.isprintable():
        raise typer.BadParameter("must be one line of text")
    return value


Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why, for the history.", callback=_text)
]


class DocumentFormat(StrEnum):
    """How `rules get` writes."""

    YAML = "yaml"
    JSON = "json"


class SuggestionFormat(StrEnum):
    """How `rules suggest` writes."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


def main() -> None:
    """The console script ``understudy``: runs the command in ``sys.argv`` and ends the process."""
    app(prog_name="understudy")


def _version(wanted: bool) -> None:
    if wanted:
        from understudy import __version__

        typer.echo(f"understudy {__version__}")
        end(ExitCode.OK)


@app.callback()
def _understudy(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


@app.command()
def check(config: ConfigFile, as_json: AsJson = False) -> None:
    """Say what a configuration would do, or everything that is wrong with it (exit 1)."""
    import dataclasses
    import os

    from understudy.cli import screen
    from understudy.config import load, summary
    from understudy.errors import ConfigError

    try:
        told = summary(load(config, os.environ))
    except ConfigError as error:
        if as_json:
            screen.print_json({"valid": False, "problems": screen.plain_problems(error.problems)})
        else:
            screen.print_problems(error.problems, subject=str(config))
        end(ExitCode.REFUSED)
    if as_json:
        screen.print_json({"valid": True, "problems": [], **dataclasses.asdict(told)})
    else:
        screen.print_summary(told, subject=str(config))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from understudy.cli.screen import print_json
    from understudy.config import json_schema

    print_json(json_schema())


@app.command()
def explain(
    config: ConfigFile,
    path: Annotated[
        str, typer.Option("--path", metavar="PATH", help="Path, with ?query if there is one.")
    ] = "/",
    method: Annotated[str, typer.Option("--method", metavar="METHOD")] = "GET",
    host: Annotated[str, typer.Option("--host", metavar="HOST")] = "",
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="A field of the request; repeatable."),
    ] = None,
    ip: Annotated[str, typer.Option("--ip", metavar="ADDRESS", help="Address of the client.")] = "127.0.0.1",
    as_json: AsJson = False,
) -> None:
    """Say which variant a request would get from the rules in the file, and why."""
    import os

    from understudy.cli import explained, screen
    from understudy.config import load

    head = explained.request_head(path=path, method=method, host=host, fields=header or [], ip=ip)
    explanation = explained.explain(load(config, os.environ).rules, head)
    if as_json:
        screen.print_json(explanation)
    else:
        screen.print_fields(explained.in_words(explanation))


@app.command()
def serve(config: ConfigFile) -> None:
    """Run the proxy, its workers and the admin API until SIGTERM or Ctrl-C."""
    import os

    from understudy.app import serve as run
    from understudy.config import load

    end(run(load(config, os.environ), config_path=config))


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the report.")] = False,
    requests: Annotated[
        int, typer.Option("--requests", min=1, max=1_000_000, help="How many to send.")
    ] = 3000,
    folder: Annotated[
        Path, typer.Option("--folder", metavar="DIR", help="Where its files go.", file_okay=False)
    ] = Path("understudy-demo"),
    seed: Annotated[int, typer.Option("--seed", help="The same seed sends the same requests.")] = 1,
) -> None:
    """Play two versions of a shop behind the proxy, and show the report."""
    from understudy.demo import run

    end(run(once=once, requests=requests, folder=folder, seed=seed))


@app.command()
def kill(
    flags: Flags,
    admin: Admin = DEFAULT_ADMIN,
    reason: Reason = "",
    token: ApiToken = "",
    is_local: Local = False,
    config: LocalConfig = None,
    file: LocalFile = None,
) -> None:
    """Put FLAG on its safe variant, everywhere, now; with --local on this host, with no store needed."""
    if is_local or file is not None:
        from understudy.cli import local_kill

        local_kill.kill_here(flags, local_kill.kill_file(config, file), reason=reason)
        return
    from understudy.cli.remote import AdminApi

    api = AdminApi(admin, token)
    for flag in flags:
        try:
            _switch(api, "kill", flag, reason, f"{flag} is killed: every request gets its safe variant")
        except CommandError as error:
            if error.code is not ExitCode.UNREACHABLE:
                raise
            hint = "on this host alone, and at once: `understudy kill --local -c CONFIG FLAG`"
            raise CommandError(error.message, f"{error.hint}\n  {hint}".strip(), code=error.code) from None


@app.command()
def revive(
    flags: Flags,
    admin: Admin = DEFAULT_ADMIN,
    reason: Reason = "",
    token: ApiToken = "",
    is_local: Local = False,
    config: LocalConfig = None,
    file: LocalFile = None,
) -> None:
    """Undo kill: FLAG follows its rules again."""
    if is_local or file is not None:
        from understudy.cli import local_kill

        local_kill.revive_here(flags, local_kill.kill_file(config, file))
        return
    from understudy.cli.remote import AdminApi

    api = AdminApi(admin, token)
    for flag in flags:
        _switch(api, "revive", flag, reason, f"{flag} follows its rules again")


def _switch(api: "AdminApi", action: str, flag: str, reason: str, done: str) -> None:
    import os
    from urllib.parse import quote

    key = quote(os.fsencode(flag), safe="")
    answer = api.post(f"/api/v1/flags/{key}/{action}", {"reason": reason} if reason else {})
    print_change(done, api.json(answer, key="version"))


def print_change(done: str, change: dict[str, Any], *, environment: str = "") -> None:
    """Say what was *done*, and how many workers follow it; those of another *environment* are not known."""
    if environment and not change.get("workers"):
        typer.echo(f"{done} ({environment}, rules version {change.get('version')})")
        return
    applied, workers = change.get("applied", 0), change.get("workers", 0)
    typer.echo(f"{done} (rules version {change.get('version')}, {applied} of {workers} workers follow it)")
    if isinstance(applied, int) and isinstance(workers, int) and applied < workers:
        complain("it is stored, but not every worker has acknowledged it yet", is_warning=True)


@rules_app.command("get")
def get_rules(
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    form: Annotated[DocumentFormat, typer.Option("--format", help="How to print it.")] = DocumentFormat.YAML,
    at: Annotated[
        str,
        typer.Option(
            "--at", metavar="TIME", help="As it was then: 2026-11-26T04:00:00Z.", show_default=False
        ),
    ] = "",
    environment: InEnvironment = "",
) -> None:
    """Print the rules document with its version, ready to be changed and put back."""
    from urllib.parse import urlencode

    from understudy.cli.remote import AdminApi
    from understudy.cli.screen import print_json
    from understudy.cli.streams import print_document
    from understudy.config import write_yaml

    api = AdminApi(admin, token)
    path = rules_path(environment)
    answer = api.get(f"{path}?{urlencode({'at': at})}" if at else path)
    document = {"version": api.version(answer), **api.json(answer)}
    if form is DocumentFormat.JSON:
        print_json(document)
    else:
        print_document(write_yaml(document))


@rules_app.command("put")
def put_rules(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML or JSON; - reads standard input.")],
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    if_match: Annotated[
        str,
        typer.Option(
            "--if-match",
            metavar="VERSION",
            help="The version it replaces, '*' for any; else `version` in FILE.",
        ),
    ] = "",
    reason: Reason = "",
    environment: InEnvironment = "",
) -> None:
    """Replace the rules document as a whole, if nobody changed it in between."""
    from understudy.cli.remote import AdminApi
    from understudy.config import read_file

    document = _standard_input() if str(file) == "-" else read_file(file)
    if not isinstance(document, dict):
        raise CommandError(f"{file}: a rules document is a mapping with flags and routes")
    if "services" in document:
        hint = "put only flags, routes, compare, killed; what else the file says is read at the start"
        raise CommandError(f"{file} is a whole configuration, not a rules document", hint)
    if document and document.keys() <= {"compare", "version"}:
        hint = "put its rules under compare of what `understudy rules get` prints, and that back"
        raise CommandError(f"{file} has compare rules alone; every flag and route would be gone", hint)
    inside = document.pop("version", None)
    replaced = _if_match(if_match, inside)
    api = AdminApi(admin, token)
    path = rules_path(environment)
    before = api.json(api.get(path))
    answer = api.put(path, document, if_match=replaced, reason=reason)
    print_change("the rules are replaced", api.json(answer, key="version"), environment=environment)
    _warn_of_gaps(before, document)


@rules_app.command("suggest")
def suggest_rules(
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    report_file: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="A report as JSON, instead of asking the admin API."),
    ] = None,
    form: Annotated[
        SuggestionFormat, typer.Option("--format", help="How to print them; yaml can be pasted.")
    ] = SuggestionFormat.TEXT,
    include_regressions: Annotated[
        bool,
        typer.Option("--include-regressions", help="Also for regressions: values that shall differ now."),
    ] = False,
) -> None:
    """Propose compare rules that forgive the noise seen so far, and say where none is proposed and why."""
    from understudy.cli import suggested
    from understudy.cli.remote import AdminApi

    if report_file is not None:
        found = suggested.from_file(report_file, include_regressions=include_regressions)
    else:
        api = AdminApi(admin, token)
        asked = "?include_regressions=true" if include_regressions else ""
        found = api.json(api.get(f"/api/v1/rules/suggestions{asked}"), key="suggestions")
    suggested.write(found, form=form.value)


def _warn_of_gaps(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Tell what left with the old document and was hardly meant to: a whole one replaces a whole one."""
    if not after.get("routes"):
        complain("there is no route any more: every request is answered with 404", is_warning=True)
    for flag in before.get("killed") or ():
        if flag in (after.get("flags") or ()) and flag not in (after.get("killed") or ()):
            hint = f"`understudy kill {flag}` puts it back on its safe variant"
            complain(f"{flag} was killed and follows its rules again", hint, is_warning=True)


def _standard_input() -> object:
    from understudy.config import MOST_BYTES, parse_bytes

    return parse_bytes(sys.stdin.buffer.read(MOST_BYTES + 1), "standard input")


def _if_match(option: str, inside: object) -> str:
    version = option.strip().strip('"') or inside
    if version == "*":
        return "*"
    if version is None or version == "":
        hint = (
            "start from `understudy rules get`, or name it: --if-match VERSION; --if-match '*' replaces any"
        )
        raise CommandError("which version does this replace?", hint, code=ExitCode.USAGE)
    text = str(version)
    if isinstance(version, bool) or not (text.isascii() and text.isdigit()):
        raise CommandError(f"{text!r} is not a version", "a whole number, or '*'", code=ExitCode.USAGE)
    return f'"{int(text)}"'


@app.command()
def report(
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    form: ReportForm = None,
    output: ReportFiles = None,
    fail_on: ReportFailOn = "regression",
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for a verdict that is not undecided, and show how far it is.")
    ] = False,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="DURATION", help="The longest to wait.", show_default="10m")
    ] = "",
) -> None:
    """Show what differs. Exit 0: clean, 1: regression, 2: undecided, 3: no answer from the admin API."""
    from understudy.cli import reported, waiting
    from understudy.cli.remote import AdminApi

    outputs = reported.read_outputs(output or [], form)
    conditions = reported.read_fail_on(fail_on)
    if timeout and not wait:
        raise CommandError("--timeout says how long to --wait", code=ExitCode.USAGE)
    limit = waiting.read_timeout(timeout)
    api = AdminApi(admin, token)
    told = waiting.wait_for_report(api, limit) if wait else api.json(api.get("/api/v1/report"), key="verdict")
    end(reported.finish(told, outputs=outputs, fail_on=conditions))


app.command()(reload)
app.command()(restart)
app.command()(record)
app.command()(replay)
