"""Stock OpenFeature providers, as their users install them, before a running ``understudy serve``."""

import json
import os
import select
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagEvaluationDetails
from openfeature.provider import AbstractProvider
from servers import Serving, UnderstudyServe

CONFIG = """
services:
  shop: {url: "http://127.0.0.1:9"}
store: memory://
flags:
  ready: {variants: {"on": true, "off": false}, defaultVariant: "on"}
  ratio: {variants: {one: 1.0, half: 0.5}, defaultVariant: one}
  count: {variants: {one: 1, two: 2}, defaultVariant: one}
  look:
    variants: {dark: {ink: white}, light: {ink: black}}
    defaultVariant: light
    targeting: {if: [{"==": [{var: country}, NL]}, dark, null]}
  split:
    variants: {a: A, b: B}
    defaultVariant: a
    targeting: {fractional: [[a, 50], [b, 50]]}
  parts:
    variants: {a: A, b: B, c: C}
    defaultVariant: a
    targeting: {fractional: [[a, 5], [b, 35], [c, 60]]}
  gone: {state: DISABLED, variants: {"on": true}, defaultVariant: "on"}
"""
FOLDER = Path(__file__).parent / "sdks"
INSTALL_SECONDS = 60.0
PATIENCE_SECONDS = 60.0
Asked = tuple[str, str, Any, dict[str, Any]]

CASES: list[tuple[Asked, tuple[Any, str | None, str, str | None]]] = [
    (("Boolean", "ready", False, {}), (True, "on", "STATIC", None)),
    (("Integer", "count", 9, {}), (1, "one", "STATIC", None)),
    (("Float", "ratio", 9.5, {}), (1.0, "one", "STATIC", None)),
    (("Object", "look", {}, {"country": "NL"}), ({"ink": "white"}, "dark", "TARGETING_MATCH", None)),
    (("Object", "look", {}, {"country": "BE"}), ({"ink": "black"}, "light", "DEFAULT", None)),
    (("String", "split", "own", {"targetingKey": "ann"}), ("B", "b", "TARGETING_MATCH", None)),
    (("String", "split", "own", {"targetingKey": "dan"}), ("A", "a", "TARGETING_MATCH", None)),
    (("Boolean", "raedy", False, {}), (False, None, "ERROR", "FLAG_NOT_FOUND")),
    (("Boolean", "count", False, {}), (False, None, "ERROR", "TYPE_MISMATCH")),
]


@pytest.fixture(scope="module")
def serving(understudy_serve: UnderstudyServe) -> Serving:
    """One ``understudy serve`` with flags of every type, hashed as Python's flagd provider does."""
    return understudy_serve("metadata: {hashVersion: 3}\n" + CONFIG)


@pytest.fixture(scope="module")
def changing(understudy_serve: UnderstudyServe) -> Serving:
    """Another one, hashed as by default, whose flags `look` and `split` are killed."""
    return understudy_serve(CONFIG)


@contextmanager
def client(provider: AbstractProvider) -> Iterator[OpenFeatureClient]:
    """A client of Python's SDK over *provider*."""
    api.set_provider_and_wait(provider, domain="test")
    try:
        yield api.get_client(domain="test")
    finally:
        api.shutdown()


def python_details(asking: OpenFeatureClient, asked: Asked) -> FlagEvaluationDetails[Any]:
    """What Python's SDK says."""
    kind, key, own, context = asked
    attributes = {name: value for name, value in context.items() if name != "targetingKey"}
    read = getattr(asking, f"get_{kind.lower()}_details")
    found: FlagEvaluationDetails[Any] = read(
        key, own, EvaluationContext(context.get("targetingKey"), attributes)
    )
    return found


def told(details: FlagEvaluationDetails[Any]) -> tuple[Any, str | None, str, str | None]:
    """Value, variant, reason and error code, as text."""
    code = details.error_code.value if details.error_code is not None else None
    variant = details.variant or None
    return details.value, variant, str(getattr(details.reason, "value", details.reason)), code


def test_pythons_ofrep_provider_agrees(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every type and every reason; 1 is an int and 1.0 a float to it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with client(OFREPProvider(f"http://127.0.0.1:{serving.admin_port}", timeout=PATIENCE_SECONDS)) as asking:
        answers = [told(python_details(asking, asked)) for asked, _ in CASES]
        gone = told(python_details(asking, ("Boolean", "gone", False, {})))
        bare = asking.get_boolean_details("ready", False)

    assert answers == [expected for _, expected in CASES]
    assert gone == (False, None, "DISABLED", None)
    assert bare.value is True


def test_pythons_flagd_provider_agrees_in_process(serving: Serving, tmp_path: Path) -> None:
    """It evaluates what the sync endpoint gives, and comes to the same answers."""
    definition = tmp_path / "flags.json"
    definition.write_bytes(serving.admin("/api/v1/sync/flags.json").body)
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(definition))
    with client(provider) as asking:
        answers = [told(python_details(asking, asked)) for asked, _ in CASES]

    assert [answer[:2] for answer in answers[:7]] == [expected[:2] for _, expected in CASES[:7]]
    assert [answer[3] for answer in answers] == [expected[3] for _, expected in CASES]


def test_a_killed_flag_is_killed_in_process_too(changing: Serving, tmp_path: Path) -> None:
    """Whoever evaluates the definition gets the safe variant, whatever the context."""
    assert changing.admin("/api/v1/flags/look/kill", method="POST").status == 200
    definition = tmp_path / "flags.json"
    definition.write_bytes(changing.admin("/api/v1/sync/flags.json").body)
    asked: Asked = ("Object", "look", {}, {"country": "NL"})
    with client(
        FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(definition))
    ) as asking:
        in_process = told(python_details(asking, asked))
    with client(OFREPProvider(f"http://127.0.0.1:{changing.admin_port}", timeout=PATIENCE_SECONDS)) as asking:
        over_ofrep = told(python_details(asking, asked))

    assert in_process == over_ofrep == ({"ink": "black"}, "light", "STATIC", None)


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts beside the npm packages they need, which are kept between runs."""
    wanted = (FOLDER / "package.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = cache / "understudy-tests" / f"npm-{sha256(wanted).hexdigest()[:12]}"
    if not (kept / "complete").exists():
        install(kept, wanted)
    folder = tmp_path_factory.mktemp("sdks")
    for script in FOLDER.iterdir():
        shutil.copy(script, folder)
    (folder / "node_modules").symlink_to(kept / "node_modules")
    return folder


def install(kept: Path, wanted: bytes) -> None:
    """Install the npm packages into *kept*, or skip with a notice that cannot be overlooked."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        skip("npm and node are missing")
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "package.json").write_bytes(wanted)
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
    try:
        done = subprocess.run(command, cwd=kept, capture_output=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        skip(f"npm install took more than {INSTALL_SECONDS:.0f} s")
    if done.returncode:
        skip(f"npm install failed: {done.stderr.decode(errors='replace')[-300:]}")
    (kept / "complete").touch()


def skip(why: str) -> None:
    """Skip, and say so in the summary of warnings: JavaScript's providers were not tested."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"*** JavaScript's OpenFeature providers were NOT tested: {why} ***", stacklevel=2)
    pytest.skip(why)


def test_javascripts_server_provider_agrees(serving: Serving, node_folder: Path) -> None:
    """The same cases, the same answers; to JavaScript all numbers are one type."""
    kinds = {"Integer": "Number", "Float": "Number"}
    asked = [[kinds.get(kind, kind), *rest] for (kind, *rest), _ in CASES]
    done = subprocess.run(
        ["node", "server.mjs", f"http://127.0.0.1:{serving.admin_port}", json.dumps(asked)],
        cwd=node_folder,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    found = [
        (entry["value"], entry.get("variant"), entry["reason"], entry.get("errorCode"))
        for entry in json.loads(done.stdout)
    ]

    assert found == [expected for _, expected in CASES]


def test_javascripts_flagd_provider_agrees_in_process(
    changing: Serving, node_folder: Path, tmp_path: Path
) -> None:
    """It hashes as we do by default: 100 units, three variants, the same for each."""
    definition, units = tmp_path / "flags.json", [f"unit-{n}" for n in range(100)]
    definition.write_bytes(changing.admin("/api/v1/sync/flags.json").body)
    done = subprocess.run(
        ["node", "in_process.mjs", str(definition), "parts", json.dumps(units)],
        cwd=node_folder,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    ours = [changing.admin(f"/api/v1/decide/parts/{unit}").json()["variant"] for unit in units]

    assert json.loads(done.stdout) == ours
    assert set(ours) == {"a", "b", "c"}


class Page:
    """A page that tells what it shows, one line of JSON at a time."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def next(self) -> dict[str, Any]:
        """The next line."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE_SECONDS)
        assert ready, "the page shows nothing"
        line = self._process.stdout.readline()
        assert line, f"the page has ended: {self._process.communicate()[1].decode(errors='replace')}"
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def page(command: Sequence[str], folder: Path) -> Iterator[Page]:
    """A page that is open; closed at the end."""
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    with process:
        try:
            yield Page(process)
        finally:
            process.kill()


def test_a_page_hears_of_a_kill(changing: Serving, node_folder: Path) -> None:
    """JavaScript's web provider follows the stream that the first answer names, and asks again."""
    command = [
        "node",
        "web.mjs",
        f"http://127.0.0.1:{changing.admin_port}",
        "split",
        '{"targetingKey": "ann"}',
    ]
    with page(command, node_folder) as shown:
        first = shown.next()
        assert changing.admin("/api/v1/flags/split/kill", method="POST").status == 200
        second = shown.next()  # nobody asks by himself: web.mjs does not poll

    assert (first["value"], first["reason"]) == ("B", "TARGETING_MATCH")
    assert (second["value"], second["reason"]) == ("A", "STATIC")


def test_a_flagd_provider_in_process_follows_every_change(
    understudy_serve: UnderstudyServe, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over gRPC it has the definition at once, and a kill without asking."""
    port = free_port()
    serving = understudy_serve("metadata: {hashVersion: 3}\n" + CONFIG, admin=f"sync: '127.0.0.1:{port}'")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    provider = FlagdProvider(
        resolver_type=ResolverType.IN_PROCESS, host="127.0.0.1", port=port, deadline_ms=60_000
    )
    asked: Asked = ("String", "split", "own", {"targetingKey": "ann"})
    with client(provider) as asking:
        answers = [told(python_details(asking, case)) for case, _ in CASES[:7]]
        began = time.monotonic()
        assert serving.admin("/api/v1/flags/split/kill", method="POST").status == 200
        while told(python_details(asking, asked))[0] != "A":
            assert time.monotonic() - began < PATIENCE_SECONDS
        killed = told(python_details(asking, asked))
        assert serving.stop() == 0

    assert [answer[:2] for answer in answers] == [expected[:2] for _, expected in CASES[:7]]
    assert killed == ("A", "a", "STATIC", None)


def test_a_provider_shows_its_token(
    understudy_serve: UnderstudyServe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once there is a token, one without gets its own default, and a viewer's token evaluates."""
    serving = understudy_serve(CONFIG)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    boss = serving.admin("/api/v1/tokens", method="POST", body={"name": "boss", "role": "admin"}).json()[
        "token"
    ]
    shown = {"Authorization": f"Bearer {boss}"}
    made = serving.admin(
        "/api/v1/tokens", method="POST", body={"name": "app", "role": "viewer"}, headers=shown
    )
    url, asked = f"http://127.0.0.1:{serving.admin_port}", CASES[0][0]
    with client(OFREPProvider(url, timeout=PATIENCE_SECONDS)) as asking:
        without = told(python_details(asking, asked))
    with client(
        OFREPProvider(
            url, headers_factory=lambda: {"X-API-Key": made.json()["token"]}, timeout=PATIENCE_SECONDS
        )
    ) as asking:
        with_token = told(python_details(asking, asked))

    assert without == (False, None, "ERROR", "GENERAL")
    assert with_token == CASES[0][1]
