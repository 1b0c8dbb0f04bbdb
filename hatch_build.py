"""Compile the modules of the request path when a wheel is built; a wheel without them works the same.

mypyc turns typed Python into a C extension. No compiler, an unknown platform or UNDERSTUDY_PURE=1 give a
pure wheel, with a word on why. An editable install is always pure, so that an edit takes effect.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HOT = (
    # Measured by `make bench`; docs/decisions/0007 has the figures. Each is covered by the same tests,
    # which run against the built wheel too.
    "understudy/forwarding.py",
    "understudy/messages.py",
    "understudy/tracing.py",
    "understudy/histogram.py",
    "understudy/engine.py",
    "understudy/exposures/sampling.py",
    "understudy/exposures/sightings.py",
    "understudy/middleware/counted.py",
    "understudy/middleware/dark.py",
    "understudy/middleware/deciding.py",
    "understudy/middleware/decision.py",
    "understudy/middleware/environ.py",
    "understudy/middleware/front.py",
    "understudy/middleware/hop.py",
    "understudy/middleware/in_force.py",
    "understudy/middleware/request.py",
    "understudy/proxy/access_log.py",
    "understudy/proxy/heads.py",
    "understudy/proxy/repeat.py",
    "understudy/proxy/rehearsal.py",
    "understudy/proxy/answer_heads.py",
    "understudy/proxy/preparation.py",
    "understudy/proxy/exchange.py",
    "understudy/proxy/line.py",
    "understudy/proxy/connection.py",
    "understudy/upstream/answers.py",
    "understudy/upstream/balance.py",
    "understudy/upstream/connection.py",
    "understudy/upstream/delegate.py",
    "understudy/upstream/outgoing.py",
    "understudy/upstream/health.py",
    "understudy/upstream/measured.py",
    "understudy/upstream/room.py",
    "understudy/upstream/pool.py",
    "understudy/link/batch.py",
    "understudy/link/outbox.py",
    "understudy/shadow/assess.py",
    "understudy/shadow/call.py",
    "understudy/shadow/confirm.py",
    "understudy/shadow/draws.py",
    "understudy/shadow/exchange.py",
    "understudy/shadow/mirror.py",
    "understudy/shadow/pieces.py",
    "understudy/shadow/tally.py",
    "understudy/shadow/target.py",
    "understudy/decide/arrays.py",
    "understudy/decide/by_rule.py",
    "understudy/decide/coercion.py",
    "understudy/decide/context.py",
    "understudy/decide/definition.py",
    "understudy/decide/evaluation.py",
    "understudy/decide/fields.py",
    "understudy/decide/flags.py",
    "understudy/decide/fractional.py",
    "understudy/decide/hashing.py",
    "understudy/decide/logic.py",
    "understudy/decide/naming.py",
    "understudy/decide/operators.py",
    "understudy/decide/prerequisites.py",
    "understudy/decide/semver.py",
    "understudy/config/plain.py",
    "understudy/comparators/body.py",
    "understudy/comparators/comparison.py",
    "understudy/comparators/distribution.py",
    "understudy/comparators/content.py",
    "understudy/comparators/elements.py",
    "understudy/comparators/evidence.py",
    "understudy/comparators/formats.py",
    "understudy/comparators/found.py",
    "understudy/comparators/headers.py",
    "understudy/comparators/html.py",
    "understudy/comparators/json_tree.py",
    "understudy/comparators/latency.py",
    "understudy/comparators/ledger.py",
    "understudy/comparators/noise.py",
    "understudy/comparators/verdict.py",
    "understudy/comparators/walk.py",
    "understudy/comparators/xml.py",
    "understudy/comparators/endpoints.py",
    "understudy/comparators/learned.py",
    "understudy/comparators/templates.py",
)

DIRECT = "-fvisibility=hidden -fno-plt"
"""For GCC and its like: calls within the library are direct ones. mypyc exports each function, so that each
call would go by the table in which another library may replace it."""


class CompileHotModules(BuildHookInterface[Any]):
    """Adds the compiled modules beside their sources, and tags the wheel for this platform."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable" or os.environ.get("UNDERSTUDY_PURE") == "1":
            return
        self._folder = Path(tempfile.mkdtemp(prefix="understudy-build-"))
        try:
            built = compile_into(self._folder, Path(self.root))
        except (OSError, subprocess.SubprocessError) as error:
            output = getattr(error, "output", None) or str(error)
            self.app.display_warning(f"understudy: a pure wheel, because compiling failed: {output[-2000:]}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        for library in built:
            build_data["force_include"][str(library)] = str(library.relative_to(self._folder))

    def finalize(self, *_: object) -> None:
        if hasattr(self, "_folder"):
            shutil.rmtree(self._folder, ignore_errors=True)


def compile_into(folder: Path, root: Path) -> list[Path]:
    """Compile ``HOT`` in a copy of the sources; the libraries made. Raises OSError, SubprocessError."""
    shutil.copytree(
        root / "understudy", folder / "understudy", ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    environ = {**os.environ, "MYPYC_OPT_LEVEL": "2", "MYPYC_DEBUG_LEVEL": "0"}
    # What is set there replaces what this Python was compiled with, -DNDEBUG and -fwrapv among it (by
    # setuptools). MSVC reads another variable.
    own = os.environ.get("CFLAGS") or sysconfig.get_config_var("CFLAGS") or ""
    environ["CFLAGS"] = f"{own} {DIRECT}".strip()
    # What is compiled is typed against the standard library alone here; `make types` checks the rest.
    # mypy finds no names in an asyncpg that is installed, and would refuse what only refers to a store.
    (folder / "mypy.ini").write_text("[mypy]\n[mypy-asyncpg.*]\nfollow_imports = skip\n")
    options = ["--ignore-missing-imports", "--follow-untyped-imports"]
    subprocess.run(
        [sys.executable, "-m", "mypyc", *options, *HOT],
        cwd=folder,
        env=environ,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    return [
        path for path in folder.rglob("*") if path.suffix in (".so", ".pyd") and "build" not in path.parts
    ]
