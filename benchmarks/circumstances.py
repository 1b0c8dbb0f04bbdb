"""When, where and with what the figures came about."""

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a reader needs to judge or repeat the figures."""

    at: str
    command: str
    cpu_model: str
    cores: int
    kernel: str
    python: str
    commit: str
    load_before: float
    versions: Mapping[str, str]

    @property
    def programs(self) -> str:
        """All versions in one line."""
        return ", ".join(
            f"{program} ({version})" if " " in version else f"{program} {version}"
            for program, version in self.versions.items()
        )


def circumstances(command: str, versions: Mapping[str, str]) -> Circumstances:
    """Read the machine."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return Circumstances(
        at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=command,
        cpu_model=models[0] if models else platform.machine(),
        cores=os.cpu_count() or 0,
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        commit=_commit(),
        load_before=os.getloadavg()[0],
        versions=versions,
    )


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
