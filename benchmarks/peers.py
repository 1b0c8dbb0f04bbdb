"""The proxies under test: how each is configured and started."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from envoy import envoy_config
from processes import BenchError, Cores, Process, Processes, free_ports, listens
from programs import ENVOY, PEERS, PURE, WHEEL
from traffic import Load, ask
from upstreams import nginx_config

HERE = Path(__file__).parent
CONFIGS = HERE / "configs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a proxy is to run, and between whom."""

    processes: Processes
    cores: Cores
    primary: int
    shadow: int
    workers: int = 1
    copy_seconds: float = 5.0
    """The longest life of a copy, for every proxy; 5 s is Understudy's default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One proxy, ready to be measured."""

    name: str
    port: int
    process: Process
    is_mirror: bool = False
    admin_port: int = 0
    """Where `understudy` reports; 0 for the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One proxy in one configuration."""

    name: str
    program: str
    """What must be installed for it; empty for ours."""
    is_mirror: bool
    launch: Callable[["Peer", Place], Target]

    def start(self, place: Place) -> Target:
        """Start it and wait until it listens. Raises `BenchError`."""
        target = self.launch(self, place)
        target.process.wait_until(lambda: listens(target.port))
        return target


def _label(peer: Peer, place: Place) -> str:
    """The name of its log and of its files: the same peer may run more than once."""
    return f"{peer.name.replace(' ', '-')}-{place.workers}-{place.shadow}"


def _nginx(peer: Peer, place: Place) -> Target:
    (port,) = free_ports(1)
    upstream = "upstream {} {{ server 127.0.0.1:{}; keepalive 512; keepalive_requests 1000000000; }}\n"
    # Buffers wide enough that the bodies of the bench never go to a file.
    forward = (
        'proxy_http_version 1.1; proxy_set_header Connection "";'
        " proxy_buffers 16 8k; client_body_buffer_size 128k;"
    )
    mirror = "mirror /shadow;" if peer.is_mirror else ""
    copy = (
        "location = /shadow { internal; proxy_pass http://shadow$request_uri;"
        f" proxy_read_timeout {place.copy_seconds:g}s; {forward} }}"
    )
    if not peer.is_mirror:
        copy = ""
    label = _label(peer, place)
    config = place.processes.folder / f"{label}.conf"
    config.write_text(
        nginx_config(
            place.processes.folder,
            label,
            upstream.format("primary", place.primary)
            + upstream.format("shadow", place.shadow)
            + f"server {{ listen 127.0.0.1:{port} backlog=4096{' reuseport' if place.workers > 1 else ''}; "
            f"location / {{ {mirror} proxy_pass http://primary; {forward} }} {copy} }}",
            workers=place.workers,
        )
    )
    command = ["nginx", "-e", "stderr", "-c", str(config)]
    process = place.processes.start(label, command, cores=place.cores)
    return Target(name=peer.name, port=port, process=process, is_mirror=peer.is_mirror)


def _haproxy(peer: Peer, place: Place) -> Target:
    (port,) = free_ports(1)
    label = _label(peer, place)
    config = place.processes.folder / f"{label}.cfg"
    config.write_text(
        f"global\n  nbthread {place.workers}\n"
        "defaults\n  mode http\n  timeout client 60s\n  timeout server 60s\n  timeout connect 5s\n"
        f"frontend f\n  bind 127.0.0.1:{port}\n  default_backend b\n"
        f"backend b\n  http-reuse always\n  server s 127.0.0.1:{place.primary}\n"
    )
    process = place.processes.start(label, ["haproxy", "-db", "-f", str(config)], cores=place.cores)
    return Target(name=peer.name, port=port, process=process)


def _envoy(peer: Peer, place: Place) -> Target:
    (port,) = free_ports(1)
    label = _label(peer, place)
    config = place.processes.folder / f"{label}.json"
    told = envoy_config(
        port, place.primary, place.shadow, is_mirror=peer.is_mirror, timeout_seconds=place.copy_seconds
    )
    config.write_text(json.dumps(told))
    command = [str(ENVOY), "-c", str(config), "--concurrency", str(place.workers), "-l", "error"]
    process = place.processes.start(label, [*command, "--disable-hot-restart"], cores=place.cores)
    return Target(name=peer.name, port=port, process=process, is_mirror=peer.is_mirror)


def _naive(peer: Peer, place: Place) -> Target:
    (port,) = free_ports(1)
    environ = os.environ | {
        "PRIMARY": f"http://127.0.0.1:{place.primary}",
        "SHADOW": f"http://127.0.0.1:{place.shadow}" if peer.is_mirror else "",
        "SHADOW_SECONDS": str(place.copy_seconds),
    }
    command = [str(PEERS / "bin" / "python"), "-m", "uvicorn", "naive:app", "--app-dir", str(HERE)]
    command += [
        "--port",
        str(port),
        "--workers",
        str(place.workers),
        "--loop",
        "uvloop",
        "--http",
        "httptools",
    ]
    command += ["--no-access-log", "--log-level", "warning", "--backlog", "4096"]
    process = place.processes.start(_label(peer, place), command, cores=place.cores, environ=environ)
    return Target(name=peer.name, port=port, process=process, is_mirror=peer.is_mirror)


def serve_ours(
    place: Place,
    config: Path,
    *,
    label: str,
    is_pure: bool = False,
    settings: dict[str, str] | None = None,
) -> tuple[Process, int, int]:
    """Run `understudy serve` with *config*; the process, its port and the admin API's, once it is ready.

    Only ports, the number of workers and *settings* move, by the documented environment variables.

    Raises:
        BenchError: it does not come up.
    """
    if not PURE.exists():
        raise BenchError(f"{PURE} is missing: start the bench with `make bench`, which sets up")
    port, admin_port = free_ports(2)
    environ = {key: value for key, value in os.environ.items() if not key.startswith("UNDERSTUDY_")} | {
        "UNDERSTUDY_LISTEN": f"127.0.0.1:{port}",
        "UNDERSTUDY_ADMIN__LISTEN": f"127.0.0.1:{admin_port}",
        "UNDERSTUDY_SERVICES__SHOP_V1__URL": f"http://127.0.0.1:{place.primary}",
        "UNDERSTUDY_SERVICES__SHOP_V2__URL": f"http://127.0.0.1:{place.shadow}",
        "UNDERSTUDY_WORKERS": str(place.workers),
        "UNDERSTUDY_SHADOW__TIMEOUT": f"{place.copy_seconds:g}s",
        **(settings or {}),
    }
    environ["PYTHONPATH"] = str(HERE.parent if is_pure else WHEEL)
    command = [sys.executable, "-P", "-m", "understudy", "serve", "-c", str(config)]
    process = place.processes.start(label, command, cores=place.cores, environ=environ)
    process.wait_until(
        lambda: listens(admin_port) and ask(admin_port, Load(path="/readyz"))[0][0] == 200 and listens(port)
    )
    return process, port, admin_port


def _understudy(peer: Peer, place: Place, *, config: str, is_pure: bool = False) -> Target:
    process, port, admin_port = serve_ours(
        place, CONFIGS / config, label=_label(peer, place), is_pure=is_pure
    )
    return Target(name=peer.name, port=port, process=process, is_mirror=peer.is_mirror, admin_port=admin_port)


def _peer(name: str, program: str, launch: Callable[[Peer, Place], Target]) -> tuple[str, Peer]:
    return name, Peer(name=name, program=program, is_mirror="+mirror" in name, launch=launch)


PEER_BY_NAME = dict(
    [
        _peer("nginx", "nginx", _nginx),
        _peer("haproxy", "haproxy", _haproxy),
        _peer("envoy", "envoy", _envoy),
        _peer("naive", "naive", _naive),
        _peer("understudy", "", partial(_understudy, config="plain.yaml")),
        _peer("understudy (pure)", "", partial(_understudy, config="plain.yaml", is_pure=True)),
        _peer("nginx+mirror", "nginx", _nginx),
        _peer("envoy+mirror", "envoy", _envoy),
        _peer("naive+mirror", "naive", _naive),
        _peer("understudy+mirror", "", partial(_understudy, config="mirror.yaml")),
        _peer("understudy+mirror (pure)", "", partial(_understudy, config="mirror.yaml", is_pure=True)),
        _peer("understudy+mirror+control", "", partial(_understudy, config="control.yaml")),
    ]
)
