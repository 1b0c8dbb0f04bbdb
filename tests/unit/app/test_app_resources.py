"""What a machine allows: memory by cgroup of either version, open files, client connections."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from understudy.app.resources import (
    LEAST_MEMORY,
    MOST_FILES,
    Gauge,
    client_connections,
    container_memory,
    file_limit,
    memory_limit,
)
from understudy.config import Settings, parse_settings

MIB = 1 << 20


def settings(*, is_mirrored: bool = False, **more: Any) -> Settings:
    """Two services."""
    variants = {"dark": {"serve": "a", **({"mirror": ["b"]} if is_mirrored else {})}}
    document = {
        "store": "memory://",
        "services": {"a": {"url": "http://127.0.0.1:1"}, "b": {"url": "http://127.0.0.1:2"}},
        "flags": {"f": {"state": "ENABLED", "variants": variants, "defaultVariant": "dark"}},
        "routes": [{"path": "/", "flag": "f", "unit": "ip"}],
        **more,
    }
    return parse_settings(document, base=Path(), environ={})


def machine(root: Path, cgroup: str, **limits: str) -> Path:
    """A root folder with /proc/self/cgroup and limits by path (``__`` for ``/``)."""
    files = {"proc/self/cgroup": cgroup}
    files |= {
        f"sys/fs/cgroup/{name.replace('__', '/').replace('_max', '.max')}": text
        for name, text in limits.items()
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_version_2_is_the_smallest_limit_on_the_way_up(tmp_path: Path) -> None:
    """Parents bind too; ``max`` is none."""
    root = machine(
        tmp_path,
        "0::/a/b/c\n",
        a__memory_max=f"{300 * MIB}\n",
        a__b__memory_max="max\n",
        a__b__c__memory_max=f"{400 * MIB}\n",
    )
    assert container_memory(root) == 300 * MIB


def test_inside_a_container_the_top_is_what_there_is(tmp_path: Path) -> None:
    """The path may be the host's, or lie outside."""
    root = machine(tmp_path, "0::/../../host/path\n", memory_max=f"{512 * MIB}\n")
    assert container_memory(root) == 512 * MIB


def test_version_1(tmp_path: Path) -> None:
    """Its own folder; a huge number is none."""
    root = machine(tmp_path, "5:cpu:/x\n4:memory:/docker/1\n")
    folder = root / "sys/fs/cgroup/memory/docker/1"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text(f"{256 * MIB}\n")
    (root / "sys/fs/cgroup/memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert container_memory(root) == 256 * MIB


def test_a_machine_without_cgroups(tmp_path: Path) -> None:
    """Nothing is known, nothing is bounded."""
    assert container_memory(tmp_path) == 0
    assert memory_limit(settings(), root=tmp_path) == 0
    assert container_memory(machine(tmp_path, "0::/\n")) == 0


@pytest.mark.parametrize(
    ("limits", "workers", "bytes_"),
    [
        ({}, 1, 512 * MIB),
        ({}, 2, 256 * MIB),
        ({}, 16, LEAST_MEMORY),
        ({"memory": "off"}, 1, 0),
        ({"memory": "200MiB"}, 2, 200 * MIB),
    ],
)
def test_the_memory_of_a_worker(tmp_path: Path, limits: dict[str, str], workers: int, bytes_: int) -> None:
    """Half of the container's by default, shared, with a floor; else what is set."""
    root = machine(tmp_path, "0::/\n", memory_max=f"{1024 * MIB}\n")
    assert memory_limit(settings(limits=limits, workers=workers), root=root) == bytes_


@pytest.mark.parametrize(
    ("files", "more", "connections"),
    [
        (1024, {}, 480),
        (1024, {"is_mirrored": True, "shadow": {"in_flight": 10}}, 460),
        (256, {"is_mirrored": True}, 64),
        (1024, {"limits": {"client_connections": 7}}, 7),
    ],
)
def test_client_connections(files: int, more: dict[str, Any], connections: int) -> None:
    """Half of what is left, where copies are sent after these too; at least a quarter; or what is set."""
    assert client_connections(settings(**more), files) == connections


RAISE = """
import resource
from understudy.app.resources import raise_file_limit, file_limit
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))
print(raise_file_limit(), file_limit(), raise_file_limit())
"""


def test_the_limit_of_open_files_is_raised() -> None:
    """To the hard one, told with what it was; once."""
    done = subprocess.run(
        [sys.executable, "-c", RAISE], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "(100, 300) 300 (300, 300)\n"


def test_the_limit_is_a_number() -> None:
    """Also where there is none."""
    assert 0 < file_limit() <= max(MOST_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def test_what_this_process_holds() -> None:
    """Resident memory moves with what is kept; the next descriptor is the lowest that is free."""
    gauge = Gauge()
    before = gauge.resident_bytes()
    kept = bytearray(64 * MIB)
    kept[::4096] = b"x" * len(kept[::4096])
    assert gauge.resident_bytes() - before > 48 * MIB
    free = gauge.next_file()
    taken = os.dup(0)
    assert taken == free
    assert gauge.next_file() > free
    os.close(taken)
    os.close(gauge._statm)
