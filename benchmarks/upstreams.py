"""What stands behind the proxies: one NGINX as primary and shadow, and a shadow that never answers."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from processes import Cores, Processes, free_ports, listens
from traffic import MARK, page

HERE = Path(__file__).parent
NOISE_BYTES = 32
"""`$request_id`: 16 random bytes in hexadecimal."""

TOKEN_BYTES = 4000
"""NGINX takes no longer word in its configuration than 4,096 bytes."""


def _items(count: int) -> list[dict[str, object]]:
    return [{"sku": f"sku-{i}", "qty": i, "price": 9.99} for i in range(count)]


def _document(items: int, trace: str = "") -> bytes:
    # One noisy field, as a served_at or a trace id would be.
    noisy = {"trace": trace} if trace else {}
    user = {"name": "alice", "tags": ["a", "b", "c"]}
    return json.dumps({"id": 123, "user": user, **noisy, "items": _items(items)}).encode()


SLOT = "N" * NOISE_BYTES
BODIES = {
    "/": _document(18),
    "/noisy": _document(17, SLOT),
    "/large": _document(1381),
    "/large/noisy": _document(1380, SLOT),
    "/submit": _document(18),
}
"""Path to answer; where `SLOT` stands, NGINX puts another value each time."""


def is_right(path: str, status: int, body: bytes) -> bool:
    """Whether that is the answer of *path*."""
    before, slot, after = BODIES[path].partition(SLOT.encode())
    return (
        status == 200
        and len(body) == len(BODIES[path])
        and body.startswith(before)
        and body.endswith(after)
        and (not slot or body != BODIES[path])
    )


@dataclass(slots=True, kw_only=True)
class Upstreams:
    """One NGINX on two ports that answers from memory, and counts; and one port that only accepts."""

    primary: int
    shadow: int
    hung: int
    copies_log: Path
    _questions: int = 0

    @classmethod
    def start(cls, *, processes: Processes, cores: Cores) -> "Upstreams":
        """Start them and wait until they listen. Raises `BenchError`."""
        folder = processes.folder
        primary, shadow, hung = free_ports(3)
        log = folder / "copies.log"
        for name in ("/", "/large"):
            (folder / _file(name)).write_bytes(BODIES[name])
        config = folder / "upstreams.conf"
        inside = (
            "open_file_cache max=100; client_body_buffer_size 128k;\n"
            + _server(primary, folder, "location = /requests-so-far { stub_status; }")
            + _server(shadow, folder, f"access_log {log} combined if=$http_{MARK.lower().replace('-', '_')};")
        )
        config.write_text(nginx_config(folder, "upstreams", inside))
        process = processes.start("upstreams", ["nginx", "-e", "stderr", "-c", str(config)], cores=cores)
        process.wait_until(lambda: listens(primary) and listens(shadow))
        process = processes.start("hung", [sys.executable, str(HERE / "hung.py"), str(hung)], cores=cores)
        process.wait_until(lambda: listens(hung))
        return cls(primary=primary, shadow=shadow, hung=hung, copies_log=log)

    def requests(self) -> int:
        """Requests to primary and shadow so far, without these questions. Raises `BenchError`."""
        self._questions += 1
        text = page(self.primary, "/requests-so-far")
        # "server accepts handled requests" and below it the three numbers.
        return int(text.splitlines()[2].split()[2]) - self._questions

    def copies(self) -> int:
        """Requests with the field `MARK` that reached the shadow so far."""
        return len(self.copies_log.read_bytes().splitlines())


def _file(path: str) -> str:
    return f"answer{path.replace('/', '-')}.json"


def _server(port: int, folder: Path, more: str) -> str:
    static = "".join(
        f"location = {path} {{ root {folder}; try_files /{_file(path)} =404; }}\n" for path in ("/", "/large")
    )
    noisy = "".join(f"location = {path} {{ {_said(path)} }}\n" for path in ("/noisy", "/large/noisy"))
    # NGINX answers a POST by itself only with `return`, before it has read the body. Its `mirror` makes it
    # read the whole body first, and files refuse a POST, which leads to the named location.
    submit = (
        f"location = /submit {{ root {folder}; mirror /sink; try_files /{_file('/')} =404;"
        " error_page 405 =200 @submitted; }\n"
        f"location @submitted {{ {_said('/submit')} }}\n"
        "location = /sink { internal; return 204; }\n"
    )
    return (
        f"server {{ listen 127.0.0.1:{port} backlog=4096; default_type application/json; {more}\n"
        f"{static}{noisy}{submit}}}\n"
    )


def _said(path: str) -> str:
    """NGINX's words for the answer of *path* out of its configuration, `SLOT` filled anew each time."""
    before, slot, after = BODIES[path].decode().partition(SLOT)
    pieces = list(_pieces(before)), list(_pieces(after))
    names = [[f"$part{side}x{at}" for at in range(len(some))] for side, some in enumerate(pieces)]
    sets = "\n".join(
        f"set {name} '{piece}';"
        for some, texts in zip(names, pieces, strict=True)
        for name, piece in zip(some, texts, strict=True)
    )
    return f'{sets}\nreturn 200 "{"".join(names[0])}{"$request_id" if slot else ""}{"".join(names[1])}";'


def _pieces(text: str) -> Iterator[str]:
    for at in range(0, len(text), TOKEN_BYTES):
        yield text[at : at + TOKEN_BYTES]


def nginx_config(folder: Path, name: str, inside: str, *, workers: int = 1) -> str:
    """An NGINX configuration around *inside*: no access log, eternal connections."""
    paths = " ".join(
        f"{kind}_temp_path {folder}/{name}-{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"worker_processes {workers}; daemon off; pid {folder}/{name}.pid; error_log stderr error;\n"
        "events { worker_connections 8192; }\n"
        "http { access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;\n"
        f"{paths}\n{inside}\n}}\n"
    )
