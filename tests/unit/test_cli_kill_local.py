"""`kill --local` and `revive --local`: which file, what is written into it, and what is refused."""

import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from understudy.cli import app


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose other parts are none of our business: it does not even start."""
    path = tmp_path / "understudy.yaml"
    path.write_text("services: broken\n")
    return path


def run(*arguments: str | Path, **environ: str) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), env=environ)


def test_flags_are_killed_in_the_file_beside_the_configuration(config: Path) -> None:
    """With who, when and why as a comment; a second kill is added to the first."""
    done = run("kill", "--local", "-c", config, "--reason", "it burns", "shop", "search")
    path = config.parent / "understudy.kill"
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith(f"shop, search are killed on this host by {path}: ")
    assert re.fullmatch(r"# \d{4}-\d\d-\d\dT[\d:]{8}Z .+: it burns\nshop\nsearch\n", path.read_text())
    assert run("kill", "--local", "-c", config, "*").stdout.startswith(
        "every flag that a route names is killed"
    )
    assert path.read_text().endswith("\n*\n")


@pytest.mark.parametrize("name", ["other.kill", "/absolute"])
def test_the_configuration_names_the_file(config: Path, tmp_path: Path, name: str) -> None:
    """Beside it unless absolute; the environment variable overrides it, as it does for the proxy."""
    wanted = tmp_path / name.removeprefix("/")
    said = str(wanted) if name.startswith("/") else name
    config.write_text(f"kill_file: {said}\n")
    assert run("kill", "--local", "-c", config, "shop").exit_code == 0
    assert wanted.read_text().endswith("\nshop\n")
    told = run("kill", "--local", "-c", config, "shop", UNDERSTUDY_KILL_FILE="third")
    assert (told.exit_code, (tmp_path / "third").exists()) == (0, True)


def test_a_flag_is_revived(config: Path) -> None:
    """Other lines stay; without any flag left the file is gone; what was not there is told."""
    path = config.parent / "understudy.kill"
    path.write_text("# why\nshop\nsearch\n")
    assert run("revive", "--local", "-c", config, "shop").stdout == f"shop is not killed by {path} any more\n"
    assert path.read_text() == "# why\nsearch\n"
    told = run("revive", "--kill-file", path, "shpo", "search")
    assert f"warning: {path} does not name shpo\n" in told.stderr
    assert not path.exists()
    assert "nothing is killed by it" in run("revive", "--kill-file", path, "search").stderr


def test_a_flag_that_every_flag_hides_is_told(tmp_path: Path) -> None:
    """Reviving one of all is not what its line says."""
    path = tmp_path / "kill"
    path.write_text("*\n")
    assert "does not name shop; * in it kills every flag" in run("revive", "--kill-file", path, "shop").stderr
    assert path.read_text() == "*\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["kill", "--local", "shop"], 64, "the kill file of which configuration?"),
        (["kill", "--local", "-c", "missing.yaml", "shop"], 1, "--kill-file PATH does without it"),
        (["kill", "--kill-file", "kill", "# shop"], 64, "is no key of a flag"),
        (["kill", "--kill-file", "kill", "a\nb"], 64, "is no key of a flag"),
        (["kill", "--kill-file", "no/folder/kill", "shop"], 73, "SIGRTMIN to the supervisor needs none"),
        (["kill", "--local", "-c", "off.yaml", "shop"], 1, "this host has none"),
        (["kill", "--local", "-c", "bad.yaml", "shop"], 1, "bad.yaml cannot be read"),
    ],
)
def test_what_cannot_be_done_is_told_with_the_mend(
    arguments: list[str], code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is written."""
    (tmp_path / "off.yaml").write_text("kill_file: off\n")
    (tmp_path / "bad.yaml").write_text("kill_file: [\n")
    monkeypatch.chdir(tmp_path)
    before = os.listdir(tmp_path)
    told = run(*arguments)
    assert (told.exit_code, words in told.stderr) == (code, True), told.stderr
    assert os.listdir(tmp_path) == before


def test_without_an_answer_the_local_switch_is_proposed() -> None:
    """Whoever pulls the switch shall not have to read the manual."""
    told = run("kill", "shop", "--admin", "http://127.0.0.1:1")
    assert told.exit_code == 3
    assert "understudy kill --local -c CONFIG FLAG" in told.stderr
