"""`understudy report`: formats, files and exit codes, against a scripted admin API on a real socket."""

import errno
import json
import os
import re
import shlex
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from understudy.cli import app, waiting
from understudy.cli.frame import CommandError, ExitCode
from understudy.cli.output_file import write_file
from understudy.cli.report_options import FailOn, ReportFormat
from understudy.cli.reported import Output, exit_code, finish, read_fail_on, read_outputs

DOCUMENT = (Path(__file__).parents[2] / "docs" / "reports.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^(?:  run: |  script: )?(understudy report.*)$", DOCUMENT, re.MULTILINE)
CODES = re.findall(
    r"^\| (clean|regression|undecided)(, \w+ slower)? \| (\d) \| (\d) \| (\d) \| (\d) \|$", DOCUMENT, re.M
)


def report(verdict: str = "regression", *, late: str = "clean") -> dict[str, Any]:
    """A report of that verdict, with an endpoint of that latency."""
    flow = {"eligible": 3, "sent": 3, "skipped": {}, "dropped": {}, "answered": 3, "failed": {}}
    row = {"endpoint": "GET /", "service": "shop-v2", "exchanges": 3, "matched": 3, "verdict": verdict}
    row["latency"] = {"verdict": late}
    return {"verdict": verdict, "exchanges": 3, "with_control": 1, "mirror": flow, "endpoints": [row]}


@dataclass
class Admin:
    """Answers GET /api/v1/report with its reports in turn, the last one for ever; None is a 502."""

    reports: list[dict[str, Any] | None] = field(default_factory=lambda: [report()])
    asked: int = 0
    url: str = ""

    def answer(self) -> tuple[int, bytes]:
        self.asked += 1
        found = self.reports[min(self.asked, len(self.reports)) - 1]
        return (502, b"bad gateway") if found is None else (200, json.dumps(found).encode())


@pytest.fixture
def admin() -> Iterator[Admin]:
    """A running admin API."""
    script = Admin()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/api/v1/report"
            status, body = script.answer()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        script.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield script
        finally:
            server.shutdown()
            thread.join(60)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests does not matter."""
    for name in [name for name in os.environ if name.startswith("UNDERSTUDY_")]:
        monkeypatch.delenv(name)


def run(admin: Admin, *arguments: str) -> Any:
    """The result of ``understudy report`` with *arguments*."""
    result = CliRunner().invoke(app, ["report", "--admin", admin.url, *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize(
    ("verdict", "late", "fail_on", "code"),
    [
        ("clean", "clean", "regression", 0),
        ("clean", "regression", "regression", 0),
        ("clean", "regression", "latency", 1),
        ("clean", "undecided", "latency,undecided", 0),
        ("regression", "clean", "regression", 1),
        ("regression", "clean", "undecided", 1),
        ("regression", "clean", "latency", 1),
        ("regression", "regression", "never", 0),
        ("undecided", "clean", "regression", 2),
        ("undecided", "clean", "undecided", 1),
        ("undecided", "clean", "latency", 2),
        ("undecided", "regression", "latency", 1),
        ("undecided", "clean", "never", 0),
        ("of another version", "clean", "regression", 2),
    ],
)
def test_the_exit_code_follows_the_verdict(
    admin: Admin, verdict: str, late: str, fail_on: str, code: int
) -> None:
    """The table in docs/reports.md."""
    admin.reports = [report(verdict, late=late)]

    assert run(admin, "--fail-on", fail_on, "--format", "json").exit_code == code
    assert exit_code(admin.reports[0] or {}, read_fail_on(fail_on)) == code


@pytest.mark.parametrize(
    ("verdict", "late", "fail_on", "why"),
    [
        ("clean", "regression", "latency", "exit 1 though the answers are clean: --fail-on latency"),
        ("undecided", "clean", "undecided", "exit 1 though the verdict is undecided: --fail-on undecided"),
        ("regression", "clean", "never", "exit 0 though the verdict is regression: --fail-on never"),
        ("regression", "clean", "latency", ""),
        ("undecided", "clean", "regression", ""),
    ],
)
def test_an_exit_code_that_may_surprise_is_explained(
    admin: Admin, verdict: str, late: str, fail_on: str, why: str
) -> None:
    """Who sees CLEAN and a job that failed shall not have to guess."""
    admin.reports = [report(verdict, late=late)]
    result = run(admin, "--fail-on", fail_on)

    assert result.stderr.startswith(why)
    assert bool(result.stderr) == bool(why)


@pytest.mark.parametrize("text", ["", "regresion", "undecided,,latency", "never,latency"])
def test_an_unknown_condition_is_refused(admin: Admin, text: str) -> None:
    """Before anything is asked, with an exit code that is no verdict."""
    result = run(admin, "--fail-on", text)

    assert (result.exit_code, admin.asked) == (64, 0)
    assert "--fail-on" in result.stderr


def test_a_list_of_conditions_takes_spaces_and_capitals() -> None:
    """As people write lists."""
    assert read_fail_on("Undecided, latency") == {FailOn.UNDECIDED, FailOn.LATENCY}


def test_several_files_are_one_report(admin: Admin, tmp_path: Path) -> None:
    """One question, one verdict, each file in the format of its name; standard output stays empty."""
    admin.reports = [report(), report("clean")]
    names = ["r.txt", "r.json", "r.md", "r.junit.xml", "r.HTML"]
    result = run(admin, *(word for name in names for word in ("--output", str(tmp_path / name))))

    assert (result.exit_code, result.stdout, admin.asked) == (1, "", 1)
    assert result.stderr == (
        "Regression: shop-v2 is not ready. 3 mirrored requests compared; it differs from the primary.\n"
    )
    texts = {name: (tmp_path / name).read_text(encoding="utf-8") for name in names}
    assert texts["r.txt"].startswith(" REGRESSION ")
    assert json.loads(texts["r.json"]) == report()
    assert texts["r.md"].startswith("## \N{CROSS MARK} Understudy: shop-v2 is not ready")
    assert ElementTree.fromstring(texts["r.junit.xml"].encode()).get("failures") == "2"
    assert texts["r.HTML"].strip().lower().startswith("<!doctype html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_hyphen_is_standard_output(admin: Admin, tmp_path: Path) -> None:
    """The log has the text, the artefact the page."""
    result = run(admin, "-o", str(tmp_path / "r.html"), "-o", "-")

    assert result.stdout.startswith(" REGRESSION ")
    assert result.stderr == ""
    assert (tmp_path / "r.html").stat().st_size > 1000


@pytest.mark.parametrize("form", ["markdown", "junit"])
def test_new_formats_are_printed(admin: Admin, form: str) -> None:
    """To standard output as to a file."""
    start = {"markdown": "## ", "junit": '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites'}[form]

    assert run(admin, "--format", form).stdout.startswith(start)


def test_a_format_that_is_named_goes_before_the_suffix() -> None:
    """Whoever names one means it."""
    assert read_outputs([Path("r.txt")], ReportFormat.JSON) == (
        Output(form=ReportFormat.JSON, path=Path("r.txt")),
    )
    assert read_outputs([], None) == (Output(form=ReportFormat.TEXT),)
    assert read_outputs([Path("report")], None) == (Output(form=ReportFormat.TEXT, path=Path("report")),)


def test_a_suffix_that_means_nothing_is_told(admin: Admin) -> None:
    """Rather than text in a file called .pdf."""
    result = run(admin, "-o", "report.pdf")

    assert (result.exit_code, admin.asked) == (64, 0)
    assert result.stderr.startswith(
        "error: --output report.pdf: no format has the suffix .pdf\n  --format says"
    )


@pytest.mark.parametrize(
    ("fail_on", "failures", "skipped"),
    [("regression", "0", "2"), ("undecided", "2", "0"), ("never", "0", "2")],
)
def test_undecided_fails_in_junit_when_it_fails_the_job(
    admin: Admin, tmp_path: Path, fail_on: str, failures: str, skipped: str
) -> None:
    """One rule for both, so that the list of tests and the status of the job agree."""
    admin.reports = [report("undecided")]
    run(admin, "-o", str(tmp_path / "r.xml"), "--fail-on", fail_on)
    root = ElementTree.parse(tmp_path / "r.xml").getroot()

    assert (root.get("failures"), root.get("skipped")) == (failures, skipped)


def test_a_file_that_cannot_be_written_is_no_verdict(admin: Admin, tmp_path: Path) -> None:
    """Exit 73, the name that was given, and no half of anything beside it."""
    result = run(admin, "-o", str(tmp_path / "none" / "r.json"))

    assert result.exit_code == 73
    assert result.stderr == f"error: {tmp_path}/none/r.json: there is no folder {tmp_path}/none\n"


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """Whoever has the old one open reads it to its end; its permissions stay, and nothing is left beside."""
    path = tmp_path / "r.txt"
    path.write_text("old")
    path.chmod(0o640)
    with path.open() as reader:
        write_file(path, "new, \udcff")
        assert reader.read() == "old"

    assert path.read_text() == "new, \\udcff"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    """Those that the umask leaves, as if it had been opened."""
    (tmp_path / "usual").touch()
    write_file(tmp_path / "r.txt", "new")

    assert (tmp_path / "r.txt").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """What it points at is replaced, though it may lie elsewhere."""
    (tmp_path / "there").mkdir()
    (tmp_path / "r.txt").symlink_to(tmp_path / "there" / "real.txt")
    write_file(tmp_path / "r.txt", "new")

    assert (tmp_path / "r.txt").is_symlink()
    assert (tmp_path / "there" / "real.txt").read_text() == "new"


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    """What a shell makes of ``>(...)`` is no file to replace."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    write_file(path, "new")
    reader.join(60)

    assert read == ["new"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_file_that_cannot_be_replaced_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is mounted alone into a container cannot be renamed over."""
    path = tmp_path / "r.txt"
    path.write_text("old and longer")

    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy", str(target))

    monkeypatch.setattr(Path, "replace", refuse)
    write_file(path, "new")

    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    """A name that is a folder: told, and nothing changed."""
    with pytest.raises(CommandError) as caught:
        write_file(tmp_path, "new")

    assert caught.value.code is ExitCode.CANNOT_WRITE
    assert list(tmp_path.iterdir()) == []


def test_finish_writes_and_says_how_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What any command that ends in a report calls."""
    outputs = read_outputs([tmp_path / "r.json"], None)
    code = finish(report("undecided"), outputs=outputs, fail_on=read_fail_on("undecided"))

    assert code is ExitCode.REFUSED
    assert json.loads((tmp_path / "r.json").read_text())["verdict"] == "undecided"
    assert capsys.readouterr().err.startswith("Undecided: Too early to say whether shop-v2 is ready.")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting takes no time to speak of."""
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)


@pytest.mark.usefixtures("quick")
def test_waiting_ends_with_the_verdict(admin: Admin) -> None:
    """Undecided, away behind its load balancer, then clean: exit 0, and only the last is shown."""
    admin.reports = [report("undecided"), None, report("clean")]
    result = run(admin, "--wait", "--format", "json")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == report("clean")
    assert result.stderr.splitlines()[0] == "waiting for a verdict: 3 compared"
    assert "it answered 502; asking again for 60 s" in result.stderr
    assert result.stderr.splitlines()[-1] == "the admin API answers again"


@pytest.mark.usefixtures("quick")
def test_waiting_has_an_end(admin: Admin) -> None:
    """The report as it is then, exit 2, and a word on why."""
    admin.reports = [report("undecided")]
    result = run(admin, "--wait", "--timeout", "100ms", "--format", "json")

    assert result.exit_code == 2
    assert json.loads(result.stdout) == report("undecided")
    assert result.stderr.splitlines()[-1] == "warning: still undecided after 100ms"


@pytest.mark.usefixtures("quick")
def test_waiting_for_nobody_is_an_error(admin: Admin) -> None:
    """Exit 3: no answer is no verdict."""
    admin.reports = [None]
    result = run(admin, "--wait", "--timeout", "100ms")

    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.splitlines()[-2].startswith(f"error: {admin.url} is no admin API")


def test_a_timeout_without_waiting_is_refused(admin: Admin) -> None:
    """It would be silently without effect."""
    result = run(admin, "--timeout", "5m")

    assert (result.exit_code, admin.asked) == (64, 0)
    assert "--timeout says how long to --wait" in result.stderr


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_in_the_document_works(
    admin: Admin, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands there; the admin API has a regression to tell."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary")
    words = shlex.split(os.path.expandvars(command))
    result = run(admin, *words[2:])

    assert result.exit_code == (0 if "never" in words else 1)
    assert all(path.stat().st_size for path in tmp_path.iterdir())


def test_the_document_has_commands_and_codes() -> None:
    """What the two tests beside this one read is found."""
    assert len(COMMANDS) == 8
    assert len(CODES) == 5


@pytest.mark.parametrize("row", CODES)
def test_the_table_of_exit_codes_is_true(row: tuple[str, ...]) -> None:
    """Row by row, as `exit_code` has it."""
    verdict, slower, *codes = row
    told = report(verdict, late="regression" if slower else "clean")

    assert [str(exit_code(told, [condition])) for condition in FailOn] == codes


def test_one_bad_name_does_not_cost_the_other_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What can be written is, and the verdict is told; the exit code still says that something is missing."""
    outputs = read_outputs([tmp_path, tmp_path / "r.json"], None)
    with pytest.raises(CommandError, match="Is a directory") as caught:
        finish(report("clean"), outputs=outputs)
    assert caught.value.code is ExitCode.CANNOT_WRITE
    assert json.loads((tmp_path / "r.json").read_text())["verdict"] == "clean"
    assert capsys.readouterr().err.startswith("Clean: ")


def test_a_folder_that_is_missing_is_told_before_the_work(tmp_path: Path) -> None:
    """A replay may take an hour."""
    with pytest.raises(CommandError, match=r"r\.md: there is no folder .*nowhere") as caught:
        read_outputs([tmp_path / "nowhere" / "r.md"], None)
    assert caught.value.code is ExitCode.CANNOT_WRITE
