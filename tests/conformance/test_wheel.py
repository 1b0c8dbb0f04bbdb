"""The wheel is what users get: its data, its compiled request path, the behaviour of the tree."""

import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from this tree, by the build tools of the lock."""
    folder = tmp_path_factory.mktemp("wheel")
    environ = {key: value for key, value in os.environ.items() if key != "UNDERSTUDY_PURE"}
    built = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            folder,
            ROOT,
        ],
        env=environ,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert built.returncode == 0, built.stderr
    (made,) = folder.glob("understudy-*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the wheel's files, to stand first on ``PYTHONPATH``."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def run(installed: Path, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python on *args* with the wheel's understudy."""
    return subprocess.run(
        [sys.executable, *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=1500,
    )


@pytest.mark.parametrize("given", ["", "-DMINE"])
def test_it_is_compiled_as_python_is(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without checks for debugging, and with numbers that wrap: what we add takes nothing away."""
    monkeypatch.syspath_prepend(str(ROOT))
    build: Any = importlib.import_module("hatch_build")
    told: list[str] = []
    monkeypatch.setattr(build.subprocess, "run", lambda *_, env, **__: told.append(env["CFLAGS"]))
    monkeypatch.setenv("CFLAGS", given)
    build.compile_into(tmp_path / "built", ROOT)
    (flags,) = told
    assert flags == f"{given or sysconfig.get_config_var('CFLAGS')} {build.DIRECT}"


def test_it_carries_its_data_files(wheel: Path) -> None:
    """Templates, styles, migrations, scripts and the type marker are in it; tests are not."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "understudy/py.typed" in names
    assert any(name.startswith("understudy/report/templates/") for name in names)
    assert any(name.startswith("understudy/report/static/") for name in names)
    assert any(name.startswith("understudy/store/migrations/versions/") for name in names)
    assert any(name.startswith("understudy/store/lua/") for name in names)
    assert not any(name.startswith("tests/") for name in names)


@pytest.mark.skipif(
    shutil.which(sysconfig.get_config_var("CC").split()[0]) is None, reason="NO C COMPILER here"
)
def test_the_request_path_is_compiled(installed: Path, tmp_path: Path) -> None:
    """Where there is a compiler, the modules of the request path are extensions."""
    code = "import understudy.proxy.exchange as m, understudy; print(m.__file__, understudy.__file__)"
    answer = run(installed, "-c", code, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    module, package = answer.stdout.split()
    assert module.endswith(sysconfig.get_config_var("EXT_SUFFIX"))
    assert package.startswith(str(installed))


def test_it_plays_the_demo(installed: Path, tmp_path: Path) -> None:
    """Every planted fault is found by the installed product, too."""
    played = run(
        installed, "-m", "understudy", "demo", "--once", "--folder", str(tmp_path / "d"), cwd=tmp_path
    )
    assert played.returncode == 0, played.stdout[-3000:] + played.stderr[-3000:]


def check(installed: Path, suite: list[str], *, cwd: Path) -> None:
    """Run *suite* against the wheel: by two, as this is what ends last in a run of all tests."""
    options = ["-q", "-p", "no:cacheprovider", "-m", "not patched", "-n", "2", "--dist", "loadfile"]
    passed = run(installed, "-m", "pytest", *options, *suite, cwd=cwd)
    assert passed.returncode == 0, passed.stdout[-5000:] + passed.stderr[-2000:]
    assert " passed" in passed.stdout or "[100%]" in passed.stdout


def test_it_passes_the_http_suite(installed: Path, tmp_path: Path) -> None:
    """The suites of raw HTTP and of origins hold for the compiled request path as for the source."""
    folder = ROOT / "tests" / "conformance"
    suite = sorted(str(path) for kind in ("http1", "origins") for path in folder.glob(f"test_{kind}_*.py"))
    check(installed, suite, cwd=tmp_path)


MIDDLEWARE = (
    "counted",
    "request",
    "plain_decisions",
    "client_address",
    "middleware_around",
    "middleware_asgi",
    "middleware_bodies",
    "middleware_books",
    "middleware_called",
    "middleware_django",
    "middleware_exposures",
    "middleware_fastapi",
    "middleware_faults",
    "middleware_flask",
    "middleware_hostile",
    "middleware_leaks",
    "middleware_litestar",
    "wsgi",
    "wsgi_forward",
    "wsgi_hostile",
)


def test_it_decides_in_applications(installed: Path, tmp_path: Path) -> None:
    """What is compiled takes what applications and their test clients hand it, as the source does."""
    folder = ROOT / "tests" / "unit" / "middleware"
    check(installed, [str(folder / f"test_{name}.py") for name in MIDDLEWARE], cwd=tmp_path)
